import assert from "node:assert/strict";
import { needs, privateMounts } from "./needs.ts";
import { run } from "./run.ts";
import { removeTree, tempDir } from "./temp.ts";

const MODULE = import.meta.resolve("./temp.ts");

Deno.test("tempDir() is gone at the end of its block, with all that is in it", async () => {
  let path: string;
  {
    await using dir = await tempDir("temp");
    path = dir.path;
    await Deno.mkdir(dir.join("a", "b"), { recursive: true });
    await Deno.symlink("/usr", dir.join("a", "usr"));
  }
  await assert.rejects(Deno.lstat(path), Deno.errors.NotFound);
  await Deno.lstat("/usr/bin");
});

Deno.test({
  ...needs({ root: true, programs: ["setpriv"] }),
  name: "removeTree() copes with modes that shut its owner out",
  async fn() {
    await using dir = await tempDir("temp");
    const tree = dir.join("tree");
    await run([
      "sh",
      "-c",
      'mkdir -p "$0/a/b/c" && touch "$0/a/b/f" && chown -R 65534 "$0" && chmod -R 0 "$0"',
      tree,
    ]);
    await Deno.chmod(dir.path, 0o777);
    // Root's own removal meets no such limit: it has to be somebody else's.
    await Deno.copyFile(new URL(MODULE), dir.join("temp.ts"));
    const program = `import { removeTree } from "./temp.ts"; await removeTree(${JSON.stringify(tree)});`;
    await Deno.writeTextFile(dir.join("p.ts"), program);
    await Deno.copyFile(Deno.execPath(), dir.join("deno"));
    const result = await run(
      ["setpriv", "--reuid=65534", "--clear-groups", dir.join("deno"), "run", "-A", dir.join("p.ts")],
      { env: { DENO_DIR: dir.join("cache"), HOME: dir.path } },
    );
    assert.equal(result.code, 0, result.stderr);
    await assert.rejects(Deno.lstat(tree), Deno.errors.NotFound);
  },
});

Deno.test({
  ...needs({ root: true, programs: ["unshare"], kernel: [privateMounts] }),
  name: "removeTree() unmounts and does not empty what was mounted",
  async fn() {
    await using dir = await tempDir("temp");
    await Deno.mkdir(dir.join("tree", "with space", "deeper"), { recursive: true });
    await Deno.mkdir(dir.join("precious"));
    await Deno.writeTextFile(dir.join("precious", "file"), "kept");
    const script = `mount --bind "$1/precious" "$1/tree/with space" && "$2" run -A -`;
    const stdin = `import { removeTree } from "${MODULE}"; await removeTree("${dir.join("tree")}");`;
    const result = await run(["unshare", "--mount", "sh", "-c", script, "sh", dir.path, Deno.execPath()], {
      stdin,
    });
    assert.equal(result.code, 0, result.stderr);
    assert.equal(await Deno.readTextFile(dir.join("precious", "file")), "kept");
    await assert.rejects(Deno.lstat(dir.join("tree")), Deno.errors.NotFound);
  },
});

Deno.test("removeTree() takes an absent path for removed", async () => {
  await using dir = await tempDir("temp");
  await removeTree(dir.join("nothing"));
});
