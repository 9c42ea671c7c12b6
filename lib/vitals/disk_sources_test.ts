import assert from "node:assert/strict";
import "../../testdata/open_libc.ts";
import { statfsSync } from "node:fs";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";
import { mountLine, writeTree } from "../../testdata/written_tree.ts";
import { parseMountinfo } from "../host/mounts.ts";
import { DiskSources } from "./disk_sources.ts";
import type { Sample } from "./keys.ts";
import { placeOf } from "./local_path.ts";
import type { SourceChange } from "./source.ts";

const mountsOf = (...lines: string[]) => parseMountinfo(lines.join(""));

Deno.test("placeOf() follows symlinks and stops before a filesystem that may wait", async (t) => {
  await using dir = await tempDir("place");
  await writeTree(dir.path, { "local/deep/": "", "shared/inside/": "" });
  await Deno.symlink("../shared/inside", dir.join("local/relative"));
  await Deno.symlink(dir.join("local/deep"), dir.join("absolute"));
  await Deno.symlink(dir.join("round"), dir.join("round"));
  const mounts = mountsOf(mountLine("/", "ext4"), mountLine(dir.join("shared"), "nfs4"));
  const place = (path: string) => {
    const { path: end, fsType, isLocal } = placeOf(dir.join(path), mounts)!;
    return `${end.replace(dir.path, "$")} ${fsType} ${isLocal}`;
  };
  const rows: [string, string][] = [
    ["local/deep", "$/local/deep ext4 true"],
    ["local//./deep/../deep/", "$/local/deep ext4 true"],
    ["absolute", "$/local/deep ext4 true"],
    ["shared", "$/shared nfs4 false"],
    ["shared/inside", "$/shared nfs4 false"],
    ["local/relative", "$/shared nfs4 false"],
    ["local/relative/../..", "$/shared nfs4 false"],
  ];
  for (const [path, expected] of rows) await t.step(path, () => assert.equal(place(path), expected));
  await t.step("round", () => assert.throws(() => place("round"), /os error 40/));
  await t.step("missing", () => assert.throws(() => place("missing/x"), Deno.errors.NotFound));
  await t.step("no mounts", () => assert.equal(placeOf(dir.path, []), undefined));
  await t.step(
    "/",
    () => assert.deepEqual(placeOf("/", mounts), { path: "/", fsType: "ext4", isLocal: true }),
  );
});

Deno.test("placeOf() knows local filesystems", () => {
  for (const fsType of ["ext4", "xfs", "btrfs", "overlay", "tmpfs", "zfs", "virtiofs", "devtmpfs"]) {
    assert.equal(placeOf("/", mountsOf(mountLine("/", fsType)))?.isLocal, true, fsType);
  }
  for (
    const fsType of [
      "nfs",
      "nfs4",
      "lustre",
      "ceph",
      "cifs",
      "fuse.sshfs",
      "fuse.s3fs",
      "autofs",
      "9p",
      "gpfs",
    ]
  ) {
    assert.equal(placeOf("/", mountsOf(mountLine("/", fsType)))?.isLocal, false, fsType);
  }
});

async function disksOf(dir: TempDir, mountinfo: string, work: string) {
  const changes: SourceChange[] = [];
  await writeTree(dir.path, { "proc/self/mountinfo": mountinfo });
  const paths = { root: "/", work, shm: "/dev/shm" };
  const disks = new DiskSources(dir.join("proc"), paths, (change) => void changes.push(change));
  const keys = (nowMs: number) => {
    const sample: Sample = new Map();
    disks.read(sample, nowMs);
    return [...sample.keys()].filter((key) => !key.endsWith("_inodes"));
  };
  return { disks, changes, keys };
}

Deno.test("DiskSources: a network filesystem is never asked, and is asked once it is none any more", async () => {
  await using dir = await tempDir("disk");
  const shared = mountLine("/", "ext4") + mountLine(dir.path, "nfs4");
  const { disks, changes, keys } = await disksOf(dir, shared, dir.path);
  using _ = disks;
  assert.deepEqual(keys(0), ["disk_root_avail_bytes", "shm_avail_bytes"]);
  assert.deepEqual(disks.describe(0).work, { fsType: "nfs4", totalBytes: undefined, totalInodes: undefined });
  await writeTree(dir.path, { "proc/self/mountinfo": mountLine("/", "ext4") });
  assert.deepEqual(keys(59_999), ["disk_root_avail_bytes", "shm_avail_bytes"]);
  assert.deepEqual(keys(180_000), ["disk_root_avail_bytes", "disk_work_avail_bytes", "shm_avail_bytes"]);
  assert.deepEqual(changes, []);
});

Deno.test("DiskSources: a directory that is removed is lost once, and read again when it is back", async () => {
  await using dir = await tempDir("disk");
  await writeTree(dir.path, { "work/": "" });
  const { disks, changes, keys } = await disksOf(dir, mountLine("/", "ext4"), dir.join("work"));
  using _ = disks;
  assert.ok(keys(0).includes("disk_work_avail_bytes"));
  await Deno.remove(dir.join("work"));
  for (let nowMs = 1000; nowMs < 20_000; nowMs += 1000) {
    assert.ok(!keys(nowMs).includes("disk_work_avail_bytes"));
  }
  const source = `statfs ${dir.join("work")}`;
  assert.deepEqual(changes, [{ source, state: "lost", errno: "ENOENT" }]);
  await Deno.mkdir(dir.join("work"));
  assert.ok(keys(120_000).includes("disk_work_avail_bytes"));
  assert.deepEqual(changes.at(-1), { source, state: "back" });
});

Deno.test("DiskSources: the numbers are those of statfs(2)", async () => {
  await using dir = await tempDir("disk");
  const { disks } = await disksOf(dir, await Deno.readTextFile("/proc/self/mountinfo"), dir.path);
  using _ = disks;
  const { blocks, bsize, files } = statfsSync(dir.path);
  const { work } = disks.describe(0);
  assert.equal(work?.totalBytes, blocks * bsize);
  assert.equal(work?.totalInodes, files > 0 ? files : undefined);
});

Deno.test({
  ...needs({ root: true, programs: ["unshare"], kernel: [privateMounts] }),
  name: "DiskSources: a real tmpfs that runs full, of bytes and of inodes",
  async fn() {
    const module = new URL("./disk_sources.ts", import.meta.url).href;
    const script = `
      const { DiskSources } = await import("${module}");
      const disks = new DiskSources("/proc", { root: "/", work: "/mnt", shm: "/dev/shm" }, console.error);
      const look = () => { const sample = new Map(); disks.read(sample, 0); return sample; };
      const rows = [look()];
      try { Deno.writeFileSync("/mnt/fill", new Uint8Array(2 << 20)); } catch { rows.push(look()); }
      Deno.removeSync("/mnt/fill");
      try { for (let i = 0; i < 99; i++) Deno.writeTextFileSync("/mnt/" + i, ""); } catch { rows.push(look()); }
      console.log(JSON.stringify(rows.map((row) => [row.get("disk_work_avail_bytes"), row.get("disk_work_avail_inodes")])));`;
    const { stdout, stderr } = await run([
      "unshare",
      "--mount",
      "sh",
      "-c",
      'mount -t tmpfs -o size=1m,nr_inodes=40 tmpfs /mnt && exec "$0" eval "$1"',
      Deno.execPath(),
      script,
    ]);
    assert.notEqual(stdout, "", stderr);
    assert.equal(stderr, "");
    const [empty, full, crowded] = JSON.parse(stdout);
    assert.deepEqual(empty, [1 << 20, 39]);
    assert.deepEqual(full, [0, 38]);
    assert.equal(crowded[1], 0);
  },
});
