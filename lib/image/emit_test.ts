import assert from "node:assert/strict";
import { build, PLAIN_CONFIG, plan, run } from "../../testdata/compare_umoci.ts";
import { latin1, type TarItem } from "../../testdata/make_tar.ts";
import { tempDir } from "../../testdata/temp.ts";
import { snapshot } from "../../testdata/tree_snapshot.ts";
import { writeLayers } from "../../testdata/write_layers.ts";

Deno.test("buildSquashfs() writes equal bytes for equal layers, with and without an existing file", async () => {
  await using directory = await tempDir("merge");
  const items: TarItem[] = [{ name: "./", type: "5", mode: 0o711, uid: 5, gid: 6, mtime: 77 }];
  for (let number = 0; number < 300; number++) {
    items.push({
      name: `d${number % 7}/f${number}`,
      data: `${number}`.repeat(number),
      uid: 5,
      gid: 6,
      mtime: number,
    });
    items.push({ name: `l${number}`, type: "1", link: `d${number % 7}/f${number}` });
  }
  const files = await writeLayers(directory.path, [items, items.slice(0, 99)]);
  await Deno.writeTextFile(`${directory.path}/b.sqfs`, "old and longer than nothing");
  const inode = (await Deno.stat(`${directory.path}/b.sqfs`)).ino;
  for (const name of ["a", "b"]) {
    await build(await plan(files), `${directory.path}/${name}.sqfs`);
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // into another second
  }
  assert.deepEqual(
    await Deno.readFile(`${directory.path}/a.sqfs`),
    await Deno.readFile(`${directory.path}/b.sqfs`),
  );
  assert.equal((await Deno.stat(`${directory.path}/b.sqfs`)).ino, inode);
});

Deno.test("buildSquashfs() keeps content, links and odd names that umoci cannot unpack", async () => {
  await using directory = await tempDir("merge");
  const big = "0123456789abcdef".repeat(40_000);
  const files = await writeLayers(directory.path, [
    [
      { name: "./", type: "5", mode: 0o755, mtime: 9 },
      { name: "early", type: "1", link: "late" },
      { name: "late", data: big, uid: 12, mtime: 3, xattrs: { "user.x": "1" } },
      { name: "\xff/-rf", data: "dash" },
      { name: "long", type: "2", link: `/${"t".repeat(400)}` },
      { name: `${"p".repeat(250)}/${"q".repeat(250)}`, data: "deep" },
    ],
    [{ name: "late", data: "new" }],
  ]);
  const output = `${directory.path}/out.sqfs`;
  await build(await plan(files, { config: { ...PLAIN_CONFIG, workingDir: "/work/dir" } }), output, {
    compression: "none",
  });
  await run("unsquashfs", "-quiet", "-no-progress", "-d", `${directory.path}/out`, output);
  const { entries } = await snapshot(`${directory.path}/out`);
  assert.equal(entries.get("early")?.sizeBytes, big.length);
  assert.equal(await Deno.readTextFile(`${directory.path}/out/early`), big);
  assert.equal(entries.get("late")?.sizeBytes, 3);
  assert.equal(entries.get("\xff/-rf")?.sizeBytes, 4);
  assert.equal(entries.get("long")?.target, `/${"t".repeat(400)}`);
  assert.equal(entries.get(`${"p".repeat(250)}/${"q".repeat(250)}`)?.sizeBytes, 4);
  assert.equal(entries.get("work/dir")?.type, "d");
  assert.equal(entries.get("")?.mtime, 9);
});

Deno.test("buildSquashfs() passes sparse files on, whatever their map", async () => {
  await using directory = await tempDir("sparse");
  const cases: [sizeBytes: number, map: [offset: number, sizeBytes: number][]][] = [
    [3_000_000, []],
    [3_000_001, []],
    [3_000_001, [[0, 1]]],
    [3_000_001, [[3_000_000, 1]]],
    [3_145_728, [[0, 700], [1000, 24], [1024, 1], [2_000_000, 513], [3_145_727, 1]]],
    [2_000_003, [[5, 3], [131_071, 2], [1_999_999, 2]]],
    [1_000, [[10, 5]]],
    [8_000_000, Array.from({ length: 120 }, (_, number) => [number * 60_000 + number, 100 + number])],
    [5 * 2 ** 30 + 7, [[2 ** 32 + 3, 10]]],
  ];
  const items: TarItem[] = cases.map(([sizeBytes, map], number) => ({
    name: `s${number}`,
    data: "#".repeat(map.reduce((sum, [, size]) => sum + size, 0)),
    pax: [["GNU.sparse.size", String(sizeBytes)], ["GNU.sparse.map", map.flat().join(",")]],
  }));
  const files = await writeLayers(directory.path, [items]);
  await build(await plan(files), `${directory.path}/out.sqfs`);
  await run(
    "unsquashfs",
    "-quiet",
    "-no-progress",
    "-d",
    `${directory.path}/out`,
    `${directory.path}/out.sqfs`,
  );
  for (const [number, [sizeBytes, map]] of cases.entries()) {
    const path = `${directory.path}/out/s${number}`;
    assert.equal((await Deno.stat(path)).size, sizeBytes);
    const wanted = `${directory.path}/wanted`;
    {
      using file = await Deno.open(wanted, { create: true, write: true, truncate: true });
      await file.truncate(sizeBytes);
      for (const [offset, size] of map) {
        await file.seek(offset, Deno.SeekMode.Start);
        await file.write(latin1("#".repeat(size)));
      }
    }
    // Five GiB of holes are compared by where their data is.
    if (sizeBytes < 2 ** 30) await run("cmp", path, wanted);
    else await run("cmp", "-i", String(2 ** 32 - 4096), path, wanted);
  }
});
