import assert from "node:assert/strict";
import { build, plan, run } from "../../testdata/compare_umoci.ts";
import { makeTar } from "../../testdata/make_tar.ts";
import { tempDir } from "../../testdata/temp.ts";

Deno.test("buildSquashfs() packs a sparse file of 1 TiB into a few pages", async () => {
  await using directory = await tempDir("sparse");
  const size = 2 ** 40;
  const data = "the end";
  const pax: [string, string][] = [["GNU.sparse.size", String(size)], ["GNU.sparse.map", `${size - 7},7`]];
  await Deno.writeFile(directory.join("layer"), makeTar([{ name: "huge", data, pax }]));
  const image = await plan([{ digest: "sha256:layer", path: directory.join("layer") }]);
  assert.equal(image.dataBytes > size, true);
  await build(image, directory.join("out.sqfs"));
  assert.ok((await Deno.stat(directory.join("out.sqfs"))).size < 64 << 20);
  assert.match(await run("unsquashfs", "-lln", directory.join("out.sqfs")), /1099511627776 .*huge/);
});
