import assert from "node:assert/strict";
import { assertFinding, examineWith, injecting, look } from "../../../testdata/doctor.ts";
import { needs, privateMounts, ptrace } from "../../../testdata/needs.ts";
import { run } from "../../../testdata/run.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { clockCheck } from "./clock.ts";
import { kmsgCheck } from "./kmsg.ts";
import { psiCheck } from "./psi.ts";

/** Such a kernel cannot be installed. */
const readableKmsg = {
  name: "a /dev/kmsg that root can read",
  works: () => new Deno.Command("head", { args: ["-c", "0", "/dev/kmsg"] }).outputSync().success,
};
const pressure = {
  name: "/proc/pressure",
  works: () => new Deno.Command("cat", { args: ["/proc/pressure/cpu"] }).outputSync().success,
};

Deno.test({
  name: "doctor: kmsg that can be read, or is denied, or hidden",
  ...needs({ root: true, programs: ["strace", "unshare"], kernel: [readableKmsg, ptrace, privateMounts] }),
  async fn(t) {
    await t.step("read", async () => assertFinding((await examineWith())("kmsg"), "ok", /can be read/));
    await t.step("denied as by dmesg_restrict", async () => {
      const wrap = [
        ...injecting("trace=open,openat", "inject=open,openat:error=EPERM"),
        ...["-P", "/dev/kmsg"],
      ];
      const line = await examineWith({ wrap });
      assertFinding(line("kmsg"), "missing", /may not be read \(EPERM\): dmesg_restrict/);
      assert.match(line("kmsg").mend!, /CAP_SYSLOG/);
    });
    await t.step("another device in its place", async () => {
      const line = await examineWith({ mounts: "mount --bind /dev/null /dev/kmsg" });
      assertFinding(line("kmsg"), "missing", /not the kernel's log/);
    });
  },
});

Deno.test("doctor: kmsg that is absent, or a pipe that nobody writes to", async () => {
  await using dir = await tempDir("doctor");
  assertFinding(await look(kmsgCheck({ dev: dir.path })), "missing", /there is no /);
  assert.equal((await run(["mkfifo", dir.join("kmsg")])).code, 0);
  assertFinding(await look(kmsgCheck({ dev: dir.path })), "missing", /not the kernel's log/);
});

Deno.test({
  name: "doctor: psi that is there, hidden, or off",
  ...needs({ root: true, programs: ["strace", "unshare"], kernel: [pressure, ptrace, privateMounts] }),
  async fn(t) {
    await t.step(
      "there",
      async () => assertFinding((await examineWith())("psi"), "ok", /cpu, memory and io/),
    );
    await t.step("hidden", async () => {
      const line = await examineWith({ mounts: "mount -t tmpfs tmpfs /proc/pressure" });
      assertFinding(line("psi"), "missing", /there is no \/proc\/pressure for cpu, memory, io/);
    });
    await t.step("one hidden by a container", async () => {
      const line = await examineWith({ mounts: "mount --bind /dev/null /proc/pressure/io" });
      assertFinding(line("psi"), "degraded", /io cannot be read: it is no pressure file/);
    });
    await t.step("off", async () => {
      const paths = ["cpu", "memory", "io"].flatMap((name) => ["-P", `/proc/pressure/${name}`]);
      const wrap = [...injecting("trace=read,pread64", "inject=read,pread64:error=EOPNOTSUPP"), ...paths];
      const line = await examineWith({ wrap });
      assertFinding(line("psi"), "missing", /booted with pressure off/);
      assert.match(line("psi").mend!, /psi=1/);
    });
  },
});

Deno.test("doctor: psi of an older kernel", async () => {
  await using dir = await tempDir("doctor");
  assertFinding(await look(psiCheck({ proc: dir.path })), "missing", /CONFIG_PSI/);
});

/** struct timex as clock_adjtime(2) would leave it, in hexadecimal, for strace's poke_exit. */
function timexHex({ status, maxErrorUsec }: { status: number; maxErrorUsec: number }): string {
  const timex = new DataView(new ArrayBuffer(208));
  timex.setBigInt64(24, BigInt(maxErrorUsec), true);
  timex.setInt32(40, status, true);
  return new Uint8Array(timex.buffer).toHex();
}

Deno.test({
  name: "doctor: clock that is synchronised, is not, is off, or may not be asked",
  ...needs({ programs: ["strace"], kernel: [ptrace] }),
  async fn(t) {
    const answer = (status: number, maxErrorUsec: number) => {
      const hex = timexHex({ status, maxErrorUsec });
      // Which of the two calls libc makes is its own affair; so is the place of the argument.
      return [
        `inject=adjtimex:retval=0:poke_exit=@arg1=${hex}`,
        `inject=clock_adjtime:retval=0:poke_exit=@arg2=${hex}`,
      ];
    };
    const rows = [
      ["synchronised", answer(0, 1_500), "ok", /; synchronised, off by at most 2 ms$/],
      ["not synchronised", answer(0x40, 16_000_000), "degraded", /STA_UNSYNC/],
      ["far off", answer(0, 3_000_000), "degraded", /synchronised, but off by at most 3000 ms$/],
      [
        "refused",
        ["inject=adjtimex,clock_adjtime:error=EPERM"],
        "degraded",
        /cannot be asked: adjtimex is refused \(EPERM\)/,
      ],
    ] as const;
    for (const [name, inject, state, detail] of rows) {
      await t.step(name, async () => {
        const line = await examineWith({ wrap: injecting("trace=adjtimex,clock_adjtime", ...inject) });
        assertFinding(line("clock"), state, detail);
      });
    }
  },
});

Deno.test("doctor: a clock before davit's time is wrong", async () => {
  for (const now of [0, Date.UTC(2025, 11, 31)]) {
    assertFinding(await look(clockCheck(() => now)), "degraded", /is in the past$/);
  }
});
