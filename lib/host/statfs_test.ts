import assert from "node:assert/strict";
import { statfsSync } from "node:fs";
import "../../testdata/open_libc.ts";
import { tempDir } from "../../testdata/temp.ts";
import { errnoOf } from "./errno.ts";
import { Statfs } from "./statfs.ts";

Deno.test("Statfs gives what node:fs gives", async () => {
  await using dir = await tempDir("statfs");
  for (const path of [dir.path, "/", "/dev/shm", "/proc"]) {
    const { blocks, bsize, files } = statfsSync(path);
    const { totalBytes, availableBytes, totalInodes, freeInodes } = new Statfs(path).read();
    assert.equal(totalBytes, blocks * bsize, path);
    assert.equal(totalInodes, files > 0 ? files : undefined, path);
    assert.ok(availableBytes >= 0 && availableBytes <= totalBytes, path);
    assert.ok((freeInodes ?? 0) <= (totalInodes ?? 0), path);
  }
});

Deno.test("Statfs throws with the errno", async () => {
  await using dir = await tempDir("statfs");
  await Deno.writeTextFile(dir.join("file"), "");
  for (
    const [path, errno] of [
      [dir.join("missing"), "ENOENT"],
      [dir.join("file/below"), "ENOTDIR"],
      [`/${"x".repeat(300)}`, "ENAMETOOLONG"],
    ] as const
  ) assert.throws(() => new Statfs(path).read(), (error) => errnoOf(error) === errno, path);
});
