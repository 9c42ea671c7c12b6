import assert from "node:assert/strict";
import { build, plan, run } from "../../testdata/compare_umoci.ts";
import { makeTar } from "../../testdata/make_tar.ts";
import { tempDir } from "../../testdata/temp.ts";

Deno.test("buildSquashfs() packs a sparse file of 32 GiB into a few pages", async () => {
  await using directory = await tempDir("sparse");
  // Beyond 32 bits, beyond what tar says in octal (8 GiB); every byte goes through the pipe to sqfstar: 4 GB/s.
  const size = 2 ** 35;
  const data = "the end";
  const pax: [string, string][] = [["GNU.sparse.size", String(size)], ["GNU.sparse.map", `${size - 7},7`]];
  await Deno.writeFile(directory.join("layer"), makeTar([{ name: "huge", data, pax }]));
  const image = await plan([{ digest: "sha256:layer", path: directory.join("layer") }]);
  assert.equal(image.dataBytes > size, true);
  await build(image, directory.join("out.sqfs"));
  assert.ok((await Deno.stat(directory.join("out.sqfs"))).size < 64 << 20);
  assert.match(await run("unsquashfs", "-lln", directory.join("out.sqfs")), / 34359738368 .*huge/);
});
