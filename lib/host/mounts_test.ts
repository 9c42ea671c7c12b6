import assert from "node:assert/strict";
import { lockScopeOf, mountOf, parseMountinfo, readMounts } from "./mounts.ts";

const line = (mountPoint: string, fsType: string, options: string, own = "rw") =>
  `36 35 98:0 / ${mountPoint} ${own} shared:1 - ${fsType} server:/export ${options}`;

Deno.test("lockScopeOf() knows how far a lock reaches", async (t) => {
  const rows: [string, string, string][] = [
    ["nfs4", "rw,vers=4.2,hard,local_lock=none,addr=10.0.0.1", "cluster"],
    ["nfs", "rw,vers=3,hard,local_lock=none", "cluster"],
    ["nfs", "rw,vers=3,nolock,local_lock=all", "node"],
    ["nfs", "rw,vers=3,local_lock=flock", "node"],
    ["nfs", "rw,vers=3,local_lock=posix", "cluster"],
    ["lustre", "rw,flock,lazystatfs", "cluster"],
    ["lustre", "rw,localflock", "node"],
    ["lustre", "rw,noflock", "refused"],
    ["lustre", "rw", "unknown"],
    ["ext4", "rw", "host"],
    ["tmpfs", "rw,size=1024k", "host"],
    ["fuse.sshfs", "rw,user_id=0", "node"],
    ["fuse.something", "rw", "unknown"],
    ["ceph", "rw", "cluster"],
  ];
  for (const [fsType, options, reach] of rows) {
    await t.step(`${fsType} ${options}`, () => {
      const [mount] = parseMountinfo(line("/shared", fsType, options));
      assert.equal(lockScopeOf(mount!).reach, reach);
      assert.equal(lockScopeOf(mount!).isSoft, false);
    });
  }
  await t.step("soft, among the mount's own options or the filesystem's", () => {
    assert.equal(lockScopeOf(parseMountinfo(line("/s", "nfs", "rw,soft"))[0]!).isSoft, true);
    assert.equal(lockScopeOf(parseMountinfo(line("/s", "nfs4", "rw", "rw,softerr"))[0]!).isSoft, true);
  });
});

Deno.test("mountOf() takes the deepest mount, of equals the last, and no name that only begins alike", () => {
  const mounts = parseMountinfo([
    line("/", "ext4", "rw"),
    line("/shared", "nfs4", "rw"),
    line("/shared/with\\040space", "tmpfs", "rw"),
    line("/shared", "lustre", "rw"),
    "not a mountinfo line",
  ].join("\n"));
  assert.equal(mountOf("/shared/x", mounts)?.fsType, "lustre");
  assert.equal(mountOf("/shared", mounts)?.fsType, "lustre");
  assert.equal(mountOf("/sharedness/x", mounts)?.fsType, "ext4");
  assert.equal(mountOf("/shared/with space/x", mounts)?.fsType, "tmpfs");
  assert.equal(mounts.length, 4);
});

Deno.test("readMounts() reads the live table", async () => {
  const mounts = await readMounts();
  assert.equal(mountOf("/proc/self", mounts)?.fsType, "proc");
});
