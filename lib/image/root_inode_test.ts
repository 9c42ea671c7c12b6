import assert from "node:assert/strict";
import { makeTar } from "../../testdata/make_tar.ts";
import { needs } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { setRootOwner } from "./root_inode.ts";

const ROOT = { uid: 0, gid: 7, mtimeSeconds: 1_000_000_000 };

/** Makes an image by sqfstar as user `id`, of files owned by 0:7 and `others`. */
async function makeImage(
  directory: string,
  id: number,
  others: number[],
  ...options: string[]
): Promise<string> {
  const output = `${directory}/${id}.sqfs`;
  const tar = makeTar([
    { name: "f", gid: 7, mtime: 3 },
    ...others.map((uid) => ({ name: `o${uid}`, uid, mtime: 3 })),
  ]);
  const user = ["setpriv", `--reuid=${id}`, `--regid=${id}`, "--clear-groups"];
  const sqfstar = [
    "sqfstar",
    "-noI",
    "-mkfs-time",
    "1",
    "-root-mode",
    "755",
    "-quiet",
    "-no-progress",
    ...options,
    output,
  ];
  const { code, stderr } = await run([...user, ...sqfstar], { stdin: tar });
  assert.equal(code, 0, stderr);
  return output;
}

Deno.test({
  ...needs({ root: true, programs: ["setpriv", "sqfstar", "unsquashfs"] }),
  name: "setRootOwner() makes images of different users alike",
  async fn() {
    await using directory = await tempDir("root-inode");
    await Deno.chmod(directory.path, 0o777);
    const images = [];
    for (const id of [1234, 1235]) {
      const image = await makeImage(directory.path, id, []);
      assert.equal(await setRootOwner(image, { ...ROOT, otherIds: new Set([0, 7]) }), true);
      const { stdout } = await run(["unsquashfs", "-UTC", "-lln", image]);
      assert.match(stdout, /^drwxr-xr-x 0\/7 +\d+ 2001-09-09 01:46 squashfs-root$/m);
      images.push(await Deno.readFile(image));
    }
    assert.deepEqual(images[0], images[1]);
  },
});

Deno.test({
  ...needs({ root: true, programs: ["setpriv", "sqfstar", "unsquashfs"] }),
  name: "setRootOwner() takes over the builder's place in the table, but not one that files use",
  async fn() {
    await using directory = await tempDir("root-inode");
    await Deno.chmod(directory.path, 0o777);
    const free = await makeImage(directory.path, 1234, []);
    assert.equal(await setRootOwner(free, { ...ROOT, uid: 99, otherIds: new Set([0, 7]) }), true);
    assert.match((await run(["unsquashfs", "-lln", free])).stdout, / 99\/7 .*squashfs-root$/m);
    const used = await makeImage(directory.path, 1235, [1235]);
    assert.equal(await setRootOwner(used, { ...ROOT, uid: 99, otherIds: new Set([0, 7, 1235]) }), false);
    const { stdout } = await run(["unsquashfs", "-lln", used]);
    assert.match(stdout, / 1235\/7 .*squashfs-root$/m);
    assert.match(stdout, / 1235\/0 .*o1235$/m);
  },
});

Deno.test({
  ...needs({ root: true, programs: ["setpriv", "sqfstar"] }),
  name: "setRootOwner() refuses an image that it cannot patch",
  async fn() {
    await using directory = await tempDir("root-inode");
    await Deno.chmod(directory.path, 0o777);
    const image = await makeImage(directory.path, 0, Array.from({ length: 600 }, (_, uid) => uid));
    await Deno.truncate(image, 200);
    await assert.rejects(setRootOwner(image, { ...ROOT, otherIds: new Set() }), { code: "converter_failed" });
  },
});
