import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { plan, run } from "../../testdata/compare_umoci.ts";
import { joined, makeTar, type TarItem } from "../../testdata/make_tar.ts";
import { tempDir } from "../../testdata/temp.ts";
import { writeLayers } from "../../testdata/write_layers.ts";
import { Failure } from "../failure.ts";
import type { Log } from "../host/log.ts";
import { DamagedLayer } from "./layer_failure.ts";
import { type ImagePlan, indexLayers } from "./merge.ts";
import { Directory, RegularFile, Symlink } from "./rootfs.ts";

type Options = Partial<Parameters<typeof indexLayers>[1]>;

/** Indexes `layers`, written into a directory of their own. */
async function index(layers: readonly (TarItem[] | Uint8Array)[], options: Options = {}): Promise<ImagePlan> {
  await using directory = await tempDir("merge");
  return await plan(await writeLayers(directory.path, layers), options);
}

/** The tree as "path" -> what is there; for a file "LAYER.ORDINAL", with "=" for one inode's further names. */
function listed(image: ImagePlan): Record<string, string> {
  const list: Record<string, string> = {};
  const seen = new Map<unknown, string>();
  const visit = (directory: Directory, prefix: string) => {
    for (const [name, inode] of [...directory.children].sort(([a], [b]) => a < b ? -1 : 1)) {
      const path = prefix + name;
      if (inode instanceof Directory) {
        if (path !== "etc") list[path] = "dir";
        visit(inode, `${path}/`);
      } else if (path.startsWith("etc/")) continue;
      else if (seen.has(inode)) list[path] = `=${seen.get(inode)}`;
      else {
        seen.set(inode, path);
        if (inode instanceof RegularFile) list[path] = `${inode.layer}.${inode.ordinal}`;
        else list[path] = inode instanceof Symlink ? `-> ${inode.target}` : "special";
      }
    }
  };
  visit(image.root, "");
  return list;
}

Deno.test("indexLayers() merges layers", async (t) => {
  const file = (name: string): TarItem => ({ name, data: "x" });
  const dir = (name: string): TarItem => ({ name, type: "5", mode: 0o755 });
  const link = (name: string, target: string): TarItem => ({ name, type: "1", link: target });
  const symlink = (name: string, target: string): TarItem => ({ name, type: "2", link: target });
  const cases: [what: string, layers: TarItem[][], expected: Record<string, string>][] = [
    ["a whiteout hides the lower layer", [[dir("d"), file("d/a"), file("b")], [
      file(".wh.b"),
      file("d/.wh.a"),
    ]], { d: "dir" }],
    [
      "a whiteout spares its own layer, before and after it",
      [[file("a"), file("b"), dir("d"), file("d/old")], [
        file(".wh.a"),
        file("a"),
        file("b"),
        file(".wh.b"),
        file("d/new"),
        file(".wh.d"),
      ]],
      { a: "1.1", b: "1.2", d: "dir", "d/new": "1.4" },
    ],
    [
      "an opaque directory spares its own layer, before and after it",
      [[dir("d"), file("d/a"), dir("d/s"), file("d/s/x")], [
        file("d/b"),
        file("d/s/y"),
        file("d/.wh..wh..opq"),
        file("d/c"),
      ]],
      { d: "dir", "d/b": "1.0", "d/c": "1.3", "d/s": "dir", "d/s/y": "1.1" },
    ],
    [
      "an opaque directory spares a name that its layer gave to a lower file",
      [[dir("d"), file("t"), file("d/a")], [link("d/l", "t"), file("d/.wh..wh..opq")]],
      { d: "dir", "d/l": "0.1", t: "=d/l" },
    ],
    ["an opaque root", [[file("a"), file("b")], [file(".wh..wh..opq"), file("c")]], { c: "1.1" }],
    ["AUFS bookkeeping is passed over", [[file("a")], [
      file(".wh..wh.aufs"),
      dir(".wh..wh.plnk"),
      file(".wh..wh.plnk/1.2"),
    ]], { a: "0.0" }],
    ["a whiteout of nothing, and in nothing", [[file("a")], [
      file(".wh.b"),
      file("no/such/.wh.c"),
      file("no/.wh..wh..opq"),
    ]], { a: "0.0" }],
    ["a file replaces a directory", [[dir("d"), dir("d/e"), file("d/e/f")], [file("d")]], { d: "1.0" }],
    ["a directory replaces a file and a link", [[file("f"), symlink("s", "t"), dir("t")], [
      dir("f"),
      dir("s"),
    ]], { f: "dir", s: "dir", t: "dir" }],
    ["a directory over a directory keeps what is below", [[dir("d"), file("d/a")], [dir("d"), file("d/b")]], {
      d: "dir",
      "d/a": "0.1",
      "d/b": "1.1",
    }],
    ["of duplicates the last wins", [[file("a"), file("./a"), file("/a")]], { a: "0.2" }],
    ["a parent below a file replaces the file", [[file("f")], [file("f/g")]], { f: "dir", "f/g": "1.0" }],
    ["absolute and odd spellings", [[file("/a//b/./c/../d")]], { a: "dir", "a/b": "dir", "a/b/d": "0.0" }],
    ["names of bytes", [[file("\xff\xfe/n\nl")]], { "\xff\xfe": "dir", "\xff\xfe/n\nl": "0.0" }],
    [
      "parents are followed through links, inside the root only",
      [[dir("real"), symlink("abs", "/real"), symlink("up", "../../../real"), symlink("chain", "abs")], [
        file("abs/a"),
        file("up/b"),
        file("chain/c"),
      ]],
      {
        abs: "-> /real",
        chain: "-> abs",
        real: "dir",
        "real/a": "1.0",
        "real/b": "1.1",
        "real/c": "1.2",
        up: "-> ../../../real",
      },
    ],
    ["a dangling link's target is made", [[symlink("l", "/x/../made/here"), file("l/a")]], {
      l: "-> /x/../made/here",
      made: "dir",
      "made/here": "dir",
      "made/here/a": "0.1",
    }],
    ["a whiteout through a linked parent", [[dir("real"), file("real/a"), symlink("l", "real")], [
      file("l/.wh.a"),
    ]], { l: "-> real", real: "dir" }],
    ["a hard link to a lower layer", [[file("t")], [link("l", "t")]], { l: "0.0", t: "=l" }],
    ["a hard link keeps its inode when a later layer replaces the target", [[file("t")], [link("l", "t")], [
      file("t"),
    ]], { l: "0.0", t: "2.0" }],
    ["also when that happens in the same layer", [[file("t"), link("l", "t"), file("t")]], {
      l: "0.0",
      t: "0.2",
    }],
    ["and when the target is hidden", [[file("t"), link("l", "t")], [file(".wh.t")]], { l: "0.0" }],
    ["a hard link to what comes later", [[link("l", "t"), file("t")]], { l: "0.1", t: "=l" }],
    ["a chain of links to what comes later", [[link("a", "b"), link("b", "c"), link("c", "t"), file("t")]], {
      a: "0.3",
      b: "=a",
      c: "=a",
      t: "=a",
    }],
    ["a forward link whose name is taken meanwhile", [[link("l", "t"), file("l"), file("t")]], {
      l: "0.1",
      t: "0.2",
    }],
    ["a forward link replaces the lower file", [[file("l")], [link("l", "t"), file("t")]], {
      l: "1.1",
      t: "=l",
    }],
    ["a hard link to a symbolic link", [[symlink("s", "x"), link("l", "s")]], { l: "-> x", s: "=l" }],
    ["a hard link to itself", [[file("a"), link("a", "a")]], { a: "0.0" }],
    ["a hard link out of what it replaces", [[dir("d"), file("d/f"), link("d", "d/f")]], { d: "0.1" }],
    ["what is in /dev is left out", [[
      dir("dev"),
      { name: "dev/null", type: "3", major: 1, minor: 3 },
      dir("dev/pts"),
      file("a/dev"),
    ]], {
      a: "dir",
      "a/dev": "0.3",
      dev: "dir",
    }],
  ];
  for (const [what, layers, expected] of cases) {
    await t.step(what, async () => assert.deepEqual(listed(await index(layers)), expected));
  }
});

Deno.test("indexLayers() refuses what must not be in an image, naming layer and entry", async (t) => {
  const base: TarItem[] = [{ name: "t" }, { name: "d", type: "5" }];
  const deep = Array.from({ length: 20 }, () => "d".repeat(200)).join("/");
  const cases: [what: string, items: TarItem[], message: RegExp][] = [
    ["..", [{ name: "../evil" }], /entry "\.\.\/evil" leads out of the root/],
    [".. further in", [{ name: "a/../../evil" }], /out of the root/],
    ["a root that is no directory", [{ name: "./", type: "2", link: "/etc" }], /replace the root/],
    ["a hard link out", [{ name: "l", type: "1", link: "../../etc/shadow" }], /hard link out of the root/],
    [
      "a hard link to nothing",
      [{ name: "l", type: "1", link: "nothing" }],
      /"nothing", which does not exist/,
    ],
    [
      "hard links in a circle",
      [{ name: "l", type: "1", link: "m" }, { name: "m", type: "1", link: "l" }],
      /not exist/,
    ],
    ["a hard link to a directory", [{ name: "l", type: "1", link: "d" }], /"d", a directory/],
    ["a hard link to the root", [{ name: "l", type: "1", link: "." }], /a directory/],
    ["a long name", [{ name: "n".repeat(256) }], /name of 256 bytes/],
    ["a long path", [{ name: `${deep}/${deep}` }], /path of \d+ bytes/],
    ["a path that links make long", [
      { name: `${deep}/x`, type: "5" },
      { name: "l", type: "2", link: `/${deep}` },
      { name: `l/${"e".repeat(200)}` },
    ], /path of \d+ bytes/],
    ["a NUL in a name", [{ name: "x", pax: [["path", "a\0b"]] }], /NUL/],
    ["a loop of links", [{ name: "l", type: "2", link: "l" }, { name: "l/a" }], /loop/],
    ["an empty link", [{ name: "l", type: "2" }], /link target of 0 bytes/],
    ["a long link", [{ name: "l", type: "2", link: "x".repeat(4096) }], /link target of 4096 bytes/],
    ["a device number", [{ name: "c", type: "3", major: 4096, minor: 0 }], /device number 4096:0/],
    ["an owner", [{ name: "a", pax: [["uid", "4294967296"]] }], /owner 4294967296/],
    ["a whiteout of ..", [{ name: ".wh..." }], /whiteout of no name/],
    ["a whiteout of nothing", [{ name: "d/.wh." }], /whiteout of no name/],
    ["an attribute", [{ name: "a", xattrs: { "user.a": "x".repeat(65537) } }], /65537 bytes/],
    ["control characters", [{ name: "../\x1b[31mred" }], /\\u001b\[31mred/],
  ];
  for (const [what, items, message] of cases) {
    await t.step(what, async () => {
      await assert.rejects(index([base, items]), (error: Failure) => {
        assert.ok(error instanceof Failure, String(error));
        assert.equal(error.code, "unsafe_layer");
        assert.equal(error.exitStatus, 65);
        assert.match(error.message, /^Cannot merge layer "sha256:layer1": /);
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

Deno.test("indexLayers() bounds bytes, entries and sparse files", async (t) => {
  await t.step("a bomb of 10 GiB, compressed twice, stops at the limit", async () => {
    await using directory = await tempDir("bomb");
    const path = `${directory.path}/bomb`;
    const head = makeTar([{ name: "zeros", pax: [["size", String(10 * 2 ** 30)]] }], { end: false });
    await Deno.writeFile(`${directory.path}/head`, head);
    await run("sh", "-c", `(cat ${directory.path}/head; head -c 200M /dev/zero) | gzip -1 > ${path}`);
    await assert.rejects(plan([{ digest: "sha256:bomb", path }], { maxUnpackedBytes: 50_000_000 }), {
      code: "image_too_large",
      message: /more than 50\.0 MB \(50000000 bytes\)/,
    });
    // A layer inside a layer is only a file: it is not unpacked.
    await Deno.writeFile(path, gzipSync(makeTar([{ name: "inner", data: await Deno.readFile(path) }])));
    const image = await plan([{ digest: "sha256:bomb", path }], { maxUnpackedBytes: 50_000_000 });
    assert.ok(image.dataBytes < 10_000_000);
  });
  await t.step("entries", async () => {
    const items = Array.from({ length: 11 }, (_, number) => ({ name: `f${number}` }));
    await assert.rejects(index([items], { maxEntries: 10 }), {
      code: "image_too_large",
      message: /10 entries/,
    });
    await index([items], { maxEntries: 11 });
  });
  await t.step("attributes that a global header gives to every entry", async () => {
    const pax: [string, string][] = Array.from(
      { length: 5000 },
      (_, n) => [`SCHILY.xattr.user.name${n}`, "v"],
    );
    const items = Array.from({ length: 2000 }, (_, number): TarItem => ({ name: `f${number}`, pax }));
    await assert.rejects(index([items]), { code: "image_too_large", message: /extended attributes take/ });
  });
  await t.step("holes", async () => {
    const hole: TarItem = {
      name: "h",
      pax: [["GNU.sparse.size", String(9 * 2 ** 40)], ["GNU.sparse.map", ""]],
    };
    await index([[hole]]);
    await assert.rejects(index([[hole, hole]]), { code: "image_too_large", message: /sparse/ });
  });
});

Deno.test("indexLayers() tells which layer is damaged", async () => {
  const good = makeTar([{ name: "a", data: "x" }]);
  const bad = gzipSync(good).subarray(0, 30);
  await assert.rejects(index([good, bad]), (error: DamagedLayer) => {
    assert.ok(error instanceof DamagedLayer);
    assert.equal(error.digest, "sha256:layer1");
    return true;
  });
  // Damage after the archive's end is found too: the checksum of the whole stands there.
  const whole = gzipSync(joined([good, new Uint8Array(1 << 20)]));
  whole[whole.length - 6]! ^= 1;
  await assert.rejects(index([whole]), { code: "damaged_layer" });
});

Deno.test("indexLayers() stops when told", async () => {
  const signal = AbortSignal.abort(new Error("stop"));
  await assert.rejects(index([[{ name: "a" }]], { signal }), /stop/);
});

Deno.test("indexLayers() leaves out attributes that squashfs cannot hold, and says so once", async () => {
  const lines: [string, unknown][] = [];
  const log: Log = { error() {}, warn: (...line) => lines.push([line[0], line[1]]), info() {}, debug() {} };
  const xattrs = {
    "system.posix_acl_access": "x",
    "trusted.overlay.opaque": "y",
    "security.selinux": "z",
    "user.k": "v",
  };
  const image = await index([[{ name: "a", xattrs }, { name: "b", xattrs }, {
    name: "./",
    type: "5",
    xattrs,
  }]], { log });
  assert.deepEqual(image.root.children.get("a")!.xattrs, ["user.k", "v"]);
  assert.equal(lines.length, 2);
  assert.match(lines[0]![0], /root directory/);
  assert.deepEqual(lines[1]![1], {
    count: 9,
    names: "security.selinux,system.posix_acl_access,trusted.overlay.opaque",
  });
});
