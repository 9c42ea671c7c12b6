import assert from "node:assert/strict";
import { needs, ptrace } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { openKmsg } from "./kmsg_device.ts";
import { KmsgFollower, type KmsgListener } from "./kmsg_follow.ts";

const FOLLOW = decodeURIComponent(new URL("../../testdata/follow_kmsg.ts", import.meta.url).pathname);
const CONFIG = decodeURIComponent(new URL("../../deno.json", import.meta.url).pathname);
const follow = [Deno.execPath(), "run", "-A", "--no-prompt", "--quiet", `--config=${CONFIG}`, FOLLOW];

const realKmsg = {
  name: "/dev/kmsg with records in it, readable and writable",
  works() {
    try {
      using file = Deno.openSync("/dev/kmsg", { write: true });
      file.writeSync(new Uint8Array());
      const opening = openKmsg("/dev/kmsg");
      if (opening.state !== "ok") return false;
      const got = opening.device.read(new Uint8Array(8_192));
      opening.device.close();
      return typeof got === "number";
    } catch {
      return false;
    }
  },
};

/** Runs the follower under strace with a fault injected; it ends when it has read all there was. */
async function followWith(inject: string): Promise<{ out: string; trace: string }> {
  await using dir = await tempDir("kmsg");
  const syscall = inject.split(":")[0]!;
  const strace = [
    "strace",
    "-f",
    "-qq",
    "-P",
    "/dev/kmsg",
    "-e",
    `trace=${syscall}`,
    "-e",
    `inject=${inject}`,
  ];
  const script =
    ': >"$0"; (until grep -Eq "^.\\"(caughtUp|state)" "$0"; do sleep 0.05; done) | "$@" | tee "$0" >/dev/null';
  const argv = [...strace, "-o", dir.join("trace"), ...follow, "/dev/kmsg"];
  await run(["sh", "-c", script, dir.join("out"), ...argv]);
  return { out: await Deno.readTextFile(dir.join("out")), trace: await Deno.readTextFile(dir.join("trace")) };
}

Deno.test("openKmsg() says that there is no kernel log", () => {
  assert.deepEqual(openKmsg("/proc/davit-none"), { state: "absent", errno: "ENOENT" });
});

Deno.test({
  name: "openKmsg() says that the kernel log is denied, whatever its mode bits say",
  ...needs({ root: true, programs: ["strace"], kernel: [ptrace, realKmsg] }),
  async fn(t) {
    for (const errno of ["EPERM", "EACCES"]) {
      await t.step(errno, async () => {
        const { out } = await followWith(`openat:error=${errno}`);
        assert.deepEqual(JSON.parse(out), { state: "denied", errno });
      });
    }
  },
});

Deno.test({
  name: "openKmsg() reads the real log, one record a read",
  ...needs({ root: true, kernel: [realKmsg] }),
  async fn(t) {
    const opening = openKmsg("/dev/kmsg");
    assert.ok(opening.state === "ok");
    const { device } = opening;
    const buffer = new Uint8Array(8_192);
    await t.step("a record", () => {
      const length = device.read(buffer);
      assert.ok(typeof length === "number");
      assert.match(new TextDecoder().decode(buffer.subarray(0, length)), /^\d+,\d+,\d+,.*\n$/s);
    });
    await t.step("a buffer too small", () => assert.equal(device.read(new Uint8Array(4)), "EINVAL"));
    await t.step("the end", () => {
      let got = device.read(buffer);
      for (let count = 0; got !== "EAGAIN" && count < 1_000_000; count++) got = device.read(buffer);
      assert.equal(got, "EAGAIN");
    });
    await t.step("waiting ends with the next record", async () => {
      const waiting = device.wait();
      await Deno.writeTextFile("/dev/kmsg", "<6>davit: a test waited for this\n");
      await waiting;
      assert.ok(typeof device.read(buffer) === "number");
    });
    await t.step("close() ends a wait at once and lets go of everything", async () => {
      const fds = () => [...Deno.readDirSync("/proc/self/fd")].length;
      const before = fds();
      const waiting = device.wait();
      device.close();
      await waiting;
      assert.ok(fds() <= before - 3 + 1, `${before} descriptors before, ${fds()} after`);
      await device.wait(); // returns
      assert.equal(device.read(buffer), "EBADF");
    });
  },
});

Deno.test({
  name: "the real log's records of userspace are not taken for the kernel's",
  ...needs({ root: true, kernel: [realKmsg] }),
  async fn() {
    const opening = openKmsg("/dev/kmsg");
    assert.ok(opening.state === "ok");
    const texts: string[] = [];
    const caughtUp = Promise.withResolvers<void>();
    const listener: KmsgListener = {
      onRecord: ({ text }) => texts.push(text),
      onCaughtUp: () => caughtUp.resolve(),
      onLost() {},
      onDown() {},
      onUp() {},
    };
    const follower = new KmsgFollower({ device: opening.device, listener, reopen: () => undefined });
    await caughtUp.promise;
    const before = follower.counts.records;
    const mark = crypto.randomUUID();
    await Deno.writeTextFile("/dev/kmsg", `<0>Out of memory: Killed process 1 (${mark})\n`);
    while (follower.counts.records === before) await new Promise((resolve) => setTimeout(resolve, 5));
    const startedMs = performance.now();
    await follower.close();
    assert.ok(performance.now() - startedMs < 2_000, "closed while it waited for the next record");
    assert.deepEqual(texts.filter((text) => text.includes(mark)), []);
  },
});

Deno.test({
  name: "errors of read(2) are survived",
  ...needs({ root: true, programs: ["strace"], kernel: [ptrace, realKmsg] }),
  async fn(t) {
    for (
      const [errno, told] of [
        ["EPIPE", /"overruns":1,"oversized":0/],
        ["EINVAL", /"overruns":0,"oversized":1/],
        ["EINTR", /"overruns":0,"oversized":0/],
      ] as const
    ) {
      await t.step(errno, async () => {
        const { out, trace } = await followWith(`read:error=${errno}:when=2`);
        assert.match(trace, new RegExp(`${errno}.*INJECTED`));
        assert.match(out, /"caughtUp":true/);
        assert.match(out, told);
        assert.doesNotMatch(out, /"down"/);
      });
    }
  },
});
