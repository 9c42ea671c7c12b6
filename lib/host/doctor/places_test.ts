import assert from "node:assert/strict";
import { assertFinding, examineWith, lineOf, look } from "../../../testdata/doctor.ts";
import { needs, privateMounts } from "../../../testdata/needs.ts";
import { otherUsers } from "../../../testdata/other_user.ts";
import { davitEnv, run } from "../../../testdata/run.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { diskCheck, rpcDirCheck } from "./places.ts";

const root = { root: true, programs: ["unshare"], kernel: [privateMounts] } as const;
const proc = "/proc";

Deno.test({
  name: "doctor: rpc-dir on read-only, full, noexec and other odd mounts",
  ...needs(root),
  async fn(t) {
    await using dir = await tempDir("doctor");
    // HOME is a candidate, so any directory can be looked at through it.
    const home = dir.join("home");
    await Deno.mkdir(home);
    const mount = (options: string) => `mount -t tmpfs -o ${options} tmpfs ${home}`;
    const rows = [
      [mount("size=1m"), "ok", /made, written and removed$/],
      [mount("ro"), "missing", /read-only \(EROFS\)/],
      [`${mount("size=64k")}; head -c 64k /dev/zero > ${home}/full`, "missing", /full \(ENOSPC\)/],
      [mount("nr_inodes=1"), "missing", /full \(ENOSPC\)/],
      [mount("size=1m,noexec"), "degraded", /but it is mounted noexec$/],
      [mount("size=1m,uid=8001"), "degraded", /but it belongs to uid 8001$/],
      [mount("size=1m,mode=0777"), "degraded", /everybody may remove others' files/],
      [mount("size=1m,mode=1777"), "ok", /made/],
    ] as const;
    for (const [mounts, state, detail] of rows) {
      await t.step(mounts.replaceAll(dir.path, ""), async () => {
        const line = await examineWith({ mounts, directory: dir.path, env: { HOME: home } });
        assertFinding(line("rpc-dir", home), state, detail);
        if (state !== "ok") assert.ok(line("rpc-dir", home).mend);
      });
    }
    await t.step("all the fixed candidates at once", async () => {
      const mounts = "mount -t tmpfs -o ro tmpfs /dev/shm; mount -t tmpfs -o noexec tmpfs /var/tmp; " +
        "mount -t tmpfs -o size=4k tmpfs /run; head -c 4k /dev/zero > /run/full; " +
        // Over /tmp and not in its place: davit itself may lie below.
        "mount -t tmpfs tmpfs /mnt; mkdir /mnt/up /mnt/work; " +
        "mount -t overlay -o lowerdir=/tmp,upperdir=/mnt/up,workdir=/mnt/work overlay /tmp; " +
        "rm -rf /tmp/rpc-logs; ln -s / /tmp/rpc-logs"; // in the overlay: a runner's machine may have one
      const line = await examineWith({ mounts, directory: dir.path });
      assertFinding(line("rpc-dir", "/dev/shm"), "missing", /EROFS/);
      assertFinding(line("rpc-dir", "/var/tmp"), "degraded", /noexec/);
      assertFinding(line("rpc-dir", "/run"), "missing", /ENOSPC/);
      assertFinding(line("rpc-dir", "/tmp/rpc-logs"), "degraded", /it is a symlink to \//);
    });
  },
});

Deno.test("doctor: rpc-dir that is absent, no directory, a dangling link, or has no name", async (t) => {
  await using dir = await tempDir("doctor");
  await Deno.writeTextFile(dir.join("file"), "");
  await Deno.symlink(dir.join("nowhere"), dir.join("dangling"));
  const rows = [
    [dir.join("absent"), "ok", /not there yet; it can be made in /],
    [dir.join("absent", "too"), "missing", /cannot be made: it is not there \(ENOENT\)/],
    [dir.join("file"), "missing", /ENOTDIR/],
    [dir.join("dangling"), "missing", /ENOENT/],
    [undefined, "missing", /HOME is not set/],
  ] as const;
  for (const [path, state, detail] of rows) {
    await t.step(path ?? "HOME", async () => {
      assertFinding(await look(rpcDirCheck(path, { proc })), state, detail);
    });
  }
  const left = await Array.fromAsync(Deno.readDir(dir.path));
  assert.deepEqual(left.map(({ name }) => name).sort(), ["dangling", "file"]);
});

Deno.test({
  name: "doctor: another user may not write everywhere",
  ...needs({ ...root, programs: ["unshare", "setpriv"] }),
  async fn() {
    await using users = await otherUsers();
    await using dir = await tempDir("doctor");
    const argv = users.argv(8001, "main.ts", ["doctor", "--json", "--dir", dir.path]);
    const { code, stdout, stderr } = await run(argv, { env: davitEnv() });
    assert.equal(code, 0, stderr);
    const line = lineOf(JSON.parse(stdout));
    assertFinding(line("flock"), "missing", /no permission \(EACCES\)/);
    assertFinding(line("rpc-dir", "/run"), "missing", /no permission \(EACCES\)/);
    assertFinding(line("rpc-dir", "/nonexistent"), "missing", /cannot be made: no permission \(EACCES\)/);
    assert.equal(line("rpc-dir", "/dev/shm").state, "ok");
  },
});

Deno.test({
  name: "doctor: disk that is small, full, without inodes, read-only, absent",
  ...needs(root),
  async fn(t) {
    await using dir = await tempDir("doctor");
    const rows = [
      ["mount -t tmpfs -o size=8g tmpfs $1", "ok", /^8\.59 GB of 8\.59 GB free, \d+ of \d+ inodes free$/],
      ["mount -t tmpfs -o size=64m tmpfs $1", "degraded", /low on bytes: 67\.1 MB of 67\.1 MB free/],
      [
        "mount -t tmpfs -o size=8g,nr_inodes=20 tmpfs $1; cd $1; touch $(seq 19)",
        "degraded",
        /low on inodes:/,
      ],
      ["mount -t tmpfs -o ro tmpfs $1", "degraded", /read-only; /],
    ] as const;
    for (const [mounts, state, detail] of rows) {
      await t.step(mounts, async () => {
        const line = await examineWith({ mounts, directory: dir.path });
        assertFinding(line("disk", dir.path), state, detail);
      });
    }
    await t.step("a small /dev/shm costs more than its bytes", async () => {
      const line = await examineWith({ mounts: "mount -t tmpfs -o size=64m tmpfs /dev/shm" });
      assertFinding(line("disk", "/dev/shm"), "degraded", /low on bytes/);
      assert.match(line("disk", "/dev/shm").mend!, /--shm-size/);
    });
    await t.step("absent", async () => {
      assertFinding(await look(diskCheck(dir.join("nothing"), { proc })), "missing", /ENOENT/);
    });
    await t.step("a system's read-only root is as it may be", async () => {
      const fake = dir.join("proc");
      await Deno.mkdir(`${fake}/self`, { recursive: true });
      await Deno.writeTextFile(`${fake}/self/mountinfo`, "1 1 0:1 / / ro - squashfs image ro\n");
      assertFinding(await look(diskCheck("/", { proc: fake, isSystem: true })), "ok", /^read-only; /);
      assertFinding(await look(diskCheck("/", { proc: fake })), "degraded", /^read-only; /);
    });
  },
});
