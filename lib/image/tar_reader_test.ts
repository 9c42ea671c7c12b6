import assert from "node:assert/strict";
import { header, joined, latin1, makeTar, type TarItem } from "../../testdata/make_tar.ts";
import { run } from "../../testdata/compare_umoci.ts";
import { ByteSource } from "./byte_source.ts";
import { DamagedLayer } from "./layer_failure.ts";
import { type TarEntry, TarReader } from "./tar_reader.ts";

/** Reads a whole archive, in chunks of `chunkBytes`. */
async function readAll(
  bytes: Uint8Array,
  chunkBytes = 700,
): Promise<{ entry: TarEntry; data: Uint8Array }[]> {
  const chunks = async function* () {
    for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
  };
  const reader = new TarReader(new ByteSource(chunks()), "sha256:test");
  const read: { entry: TarEntry; data: Uint8Array }[] = [];
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    const parts: Uint8Array[] = [];
    for await (const part of reader.data()) parts.push(part.slice());
    read.push({ entry, data: joined(parts) });
  }
  return read;
}

async function readOne(item: TarItem): Promise<TarEntry> {
  return (await readAll(makeTar([item])))[0]!.entry;
}

Deno.test("TarReader reads every form that GNU tar writes", async (t) => {
  const directory = await Deno.makeTempDir({ prefix: "davit-tar-" });
  try {
    const long = `${"d".repeat(90)}/${"f".repeat(200)}`;
    await Deno.mkdir(`${directory}/in/${"d".repeat(90)}`, { recursive: true });
    await Deno.writeTextFile(`${directory}/in/${long}`, "long name");
    await Deno.symlink("t".repeat(300), `${directory}/in/link`);
    await Deno.link(`${directory}/in/${long}`, `${directory}/in/zz`);
    await Deno.writeTextFile(`${directory}/in/plain`, "x".repeat(1000));
    await Deno.utime(`${directory}/in/plain`, 1.5, 1_600_000_000.75);
    for (const format of ["gnu", "oldgnu", "pax"]) {
      await t.step(format, async () => {
        await run(
          "tar",
          `--format=${format}`,
          "--sort=name",
          "-C",
          `${directory}/in`,
          "-cf",
          `${directory}/t.tar`,
          ".",
        );
        const read = await readAll(await Deno.readFile(`${directory}/t.tar`));
        const names = new Map(read.map(({ entry, data }) => [entry.name, { ...entry, data }]));
        assert.equal(new TextDecoder().decode(names.get(`./${long}`)?.data), "long name");
        assert.equal(names.get("./link")?.linkName, "t".repeat(300));
        assert.equal(names.get("./zz")?.type, "hardlink");
        assert.equal(names.get("./zz")?.linkName, `./${long}`);
        assert.equal(names.get("./plain")?.data.length, 1000);
        assert.equal(names.get("./plain")?.mtimeSeconds, 1_600_000_000);
        assert.equal(names.get("./")?.type, "directory");
      });
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("TarReader reads GNU tar's four forms of sparse files", async (t) => {
  const directory = await Deno.makeTempDir({ prefix: "davit-tar-" });
  try {
    const path = `${directory}/sparse`;
    {
      using file = await Deno.open(path, { create: true, write: true });
      await file.truncate(3_000_001);
      // More stretches than the old header (4) and one block of its extension (21) hold.
      for (let at = 8192; at < 2_900_000; at += 65536) {
        await file.seek(at, Deno.SeekMode.Start);
        await file.write(latin1(`at ${at}`));
      }
    }
    const whole = await Deno.readFile(path);
    for (
      const form of [
        ["--format=gnu"],
        ...["0.0", "0.1", "1.0"].map((v) => ["--format=pax", `--sparse-version=${v}`]),
      ]
    ) {
      await t.step(form.join(" "), async () => {
        await run("tar", ...form, "-S", "-C", directory, "-cf", `${directory}/t.tar`, "sparse");
        const read = await readAll(await Deno.readFile(`${directory}/t.tar`));
        assert.equal(read.length, 1);
        const { entry, data } = read[0]!;
        assert.equal(entry.name, "sparse");
        assert.equal(entry.sizeBytes, whole.length);
        assert.ok(entry.sparse!.length > 25);
        const filled = new Uint8Array(entry.sizeBytes);
        let at = 0;
        for (const { offset, sizeBytes } of entry.sparse!) {
          filled.set(data.subarray(at, at + sizeBytes), offset);
          at += sizeBytes;
        }
        assert.equal(at, data.length);
        assert.deepEqual(filled, whole);
      });
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("TarReader takes PAX records over headers, and global ones under both", async () => {
  const [first, second] = await readAll(joined([
    makeTar([{ name: "pax_global_header", type: "g", data: "12 gid=1234\n12 uid=4321\n" }], { end: false }),
    makeTar([
      {
        name: "short",
        pax: [["path", "n\xff\nw"], ["gid", "7"], ["mtime", "-5.25"]],
        xattrs: { "user.a": "\0=\n" },
      },
      { name: "other", pax: [["uid", ""]], uid: 9 },
    ]),
  ]));
  assert.equal(first!.entry.name, "n\xff\nw");
  assert.deepEqual([first!.entry.uid, first!.entry.gid, first!.entry.mtimeSeconds], [4321, 7, 0]);
  assert.deepEqual([...first!.entry.xattrs!], [["user.a", "\0=\n"]]);
  assert.deepEqual([second!.entry.uid, second!.entry.gid], [9, 1234]);
});

Deno.test("TarReader reads base-256 numbers, negative times and the ustar prefix", async () => {
  const base256 = header({ name: "big" }, 0);
  base256.set([0x80, 0, 0, 0, 0, 0x20, 0, 0], 108); // uid 2^21
  base256.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], 136); // mtime -2
  base256.set(latin1("some/where"), 345);
  rechecksum(base256);
  const { entry } = (await readAll(base256))[0]!;
  assert.equal(entry.uid, 2 ** 21);
  assert.equal(entry.mtimeSeconds, 0);
  assert.equal(entry.name, "some/where/big");
});

Deno.test("TarReader takes a V7 name with a slash as a directory", async () => {
  assert.equal((await readOne({ name: "dir/", type: "\0" })).type, "directory");
  assert.equal((await readOne({ name: "file/", type: "0" })).type, "file");
});

Deno.test("TarReader takes no data after links, directories and devices, whatever size they state", async () => {
  for (const type of ["1", "2", "3", "4", "5", "6"]) {
    const stated = header({ name: "x", type, link: "y" }, 4096);
    const read = await readAll(joined([stated, makeTar([{ name: "next" }])]));
    assert.deepEqual(read.map(({ entry }) => entry.name), ["x", "next"]);
  }
});

Deno.test("TarReader tells damage with the layer's digest", async (t) => {
  const good = makeTar([{ name: "a", data: "x".repeat(2000) }, { name: "b" }]);
  const flipped = good.slice();
  flipped[5]! ^= 1;
  const lone = joined([new Uint8Array(512), makeTar([{ name: "a" }])]);
  const cases: [what: string, bytes: Uint8Array, message: RegExp][] = [
    ["cut in a header", good.subarray(0, 100), /ends at byte 100/],
    ["cut in data", good.subarray(0, 1500), /ends at byte 1500/],
    ["cut in the padding", good.subarray(0, 512 + 2001), /ends at byte 2513/],
    ["a flipped bit", flipped, /checksum/],
    ["garbage", latin1("not a tar, but long enough to be one".repeat(20)), /number|checksum/],
    ["a zero block inside", lone, /zero block/],
    [
      "a PAX record cut short",
      makeTar([{ name: "p", type: "x", data: "99 path=x\n" }, { name: "a" }]),
      /PAX record/,
    ],
    [
      "a PAX header at the end",
      makeTar([{ name: "p", type: "x", data: "10 path=x\n" }]),
      /without its entry/,
    ],
    ["a negative PAX size", makeTar([{ name: "a", pax: [["size", "-1"]] }]), /malformed number/],
    [
      "a sparse map over the file's end",
      makeTar([{ name: "a", data: "xx", pax: [["GNU.sparse.size", "1"], ["GNU.sparse.map", "0,2"]] }]),
      /sparse map/,
    ],
    [
      "a sparse map that runs backwards",
      makeTar([{ name: "a", data: "xx", pax: [["GNU.sparse.size", "9"], ["GNU.sparse.map", "5,1,0,1"]] }]),
      /sparse map/,
    ],
    [
      "a sparse map without end",
      makeTar([{
        name: "a",
        data: `3\n${"1\n".repeat(20)}`,
        pax: [["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.realsize", "9"]],
      }]),
      /sparse map/,
    ],
  ];
  for (const [what, bytes, message] of cases) {
    await t.step(what, async () => {
      await assert.rejects(readAll(bytes), (error: DamagedLayer) => {
        assert.ok(error instanceof DamagedLayer, String(error));
        assert.equal(error.digest, "sha256:test");
        assert.equal(error.code, "damaged_layer");
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

Deno.test("TarReader bounds extended headers", async () => {
  const items = [{ name: "p", type: "x", data: new Uint8Array((1 << 20) + 1) }, { name: "a" }];
  await assert.rejects(readAll(makeTar(items)), { code: "unsafe_layer" });
  const many = Array.from({ length: 3 }, () => ({ name: "p", type: "L", data: "x".repeat(500_000) }));
  await assert.rejects(readAll(makeTar([...many, { name: "a" }])), { code: "unsafe_layer" });
});

Deno.test("TarReader accepts an archive without its closing blocks, and an empty one", async () => {
  assert.equal((await readAll(makeTar([{ name: "a" }], { end: false }))).length, 1);
  assert.equal((await readAll(new Uint8Array(0))).length, 0);
  assert.equal((await readAll(new Uint8Array(10240))).length, 0);
});

Deno.test("TarReader refuses types that no file has", async () => {
  await assert.rejects(readAll(makeTar([{ name: "a", type: "M" }])), { code: "unsafe_layer" });
});

function rechecksum(block: Uint8Array): void {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.set(latin1(`${sum.toString(8).padStart(6, "0")}\0`), 148);
}
