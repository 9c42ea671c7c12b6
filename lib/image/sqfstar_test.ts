import assert from "node:assert/strict";
import { build, plan, SEARCH_PATH } from "../../testdata/compare_umoci.ts";
import { makeTar, type TarItem } from "../../testdata/make_tar.ts";
import { needs } from "../../testdata/needs.ts";
import { run, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { Failure } from "../failure.ts";
import { DamagedLayer } from "./layer_failure.ts";
import type { ImagePlan } from "./merge.ts";
import { COMPRESSIONS, findSqfstar } from "./sqfstar.ts";

const BIN = new URL("../../testdata/bin", import.meta.url).pathname;
const SQUASH_LAYERS = new URL("../../testdata/squash_layers.ts", import.meta.url).pathname;

/** Bytes that no compressor makes smaller. */
function noise(sizeBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
  return bytes;
}

async function planOf(directory: string, items: TarItem[]): Promise<ImagePlan> {
  await Deno.writeFile(`${directory}/layer`, makeTar(items));
  return await plan([{ digest: "sha256:layer0", path: `${directory}/layer` }]);
}

/** Whether any process has `text` among its arguments. */
async function isRunning(text: string): Promise<boolean> {
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
    const arguments_ = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => ""); // it has just ended
    if (arguments_.includes(text) && arguments_.split("\0", 1)[0]!.endsWith("sqfstar")) return true;
  }
  return false;
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!await condition()) {
    if (Date.now() > deadline) throw new Error(`waited 20 s until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("findSqfstar() tells the version", async () => {
  assert.match((await findSqfstar(SEARCH_PATH)).version, /^4\.\d/);
});

Deno.test("findSqfstar() names what is missing and the cure", async (t) => {
  const cases: [what: string, path: string, state: RegExp][] = [
    ["no sqfstar", "/nowhere", /it is not on PATH, version 4\.5 or newer was wanted/],
    ["an old one", `${BIN}/old_squashfs_tools:/usr/bin:/bin`, /version 4\.4-git\.1 was found/],
  ];
  for (const [what, path, state] of cases) {
    await t.step(what, async () => {
      await assert.rejects(findSqfstar(path), (error: Failure) => {
        assert.ok(error instanceof Failure, String(error));
        assert.equal(error.exitStatus, 69);
        assert.equal(error.code, "missing_program");
        assert.match(error.message, state);
        assert.match(error.hint!, /apt-get install squashfs-tools.*EPEL.*apk add.*build/);
        return true;
      });
    });
  }
});

Deno.test("buildSquashfs() packs by every compression", async (t) => {
  await using directory = await tempDir("sqfstar");
  const image = await planOf(directory.path, [{ name: "a", data: "hello ".repeat(50_000) }]);
  for (const compression of COMPRESSIONS) {
    await t.step(compression, async () => {
      const output = directory.join(`${compression}.sqfs`);
      await build(image, output, { compression });
      const { stdout } = await run(["unsquashfs", "-s", output]);
      assert.match(stdout, new RegExp(`Compression ${compression === "none" ? "lz4" : compression}`));
      assert.equal((await run(["unsquashfs", "-cat", output, "a"])).stdout, "hello ".repeat(50_000));
      assert.equal((await Deno.stat(output)).size > 300_000, compression === "none");
    });
  }
});

Deno.test("buildSquashfs() sets the root's owner and time, which sqfstar 4.5.1 does not", async () => {
  await using directory = await tempDir("sqfstar");
  // So many objects that the root's inode lies in a later block of the table, and of all sorts of sizes.
  for (const count of [0, 200, 203, 206, 5000]) {
    const items: TarItem[] = [{ name: "./", type: "5", mode: 0o2751, uid: 77, gid: 88, mtime: 123456789 }];
    items.push({ name: "own", uid: 77, gid: 88 });
    for (let number = 0; number < count; number++) {
      items.push({ name: `f${number}`, data: "x".repeat(number % 5) });
    }
    const output = directory.join("root.sqfs");
    await build(await planOf(directory.path, items), output);
    const { stdout } = await run(["unsquashfs", "-UTC", "-lln", output], {});
    assert.match(stdout, /^drwxr-s--x 77\/88 +\d+ 1973-11-29 21:33 squashfs-root$/m);
    assert.equal(
      (await run(["unsquashfs", "-quiet", "-no-progress", "-d", directory.join(`out${count}`), output])).code,
      0,
    );
  }
});

Deno.test("buildSquashfs() ends sqfstar and its group when told, also one that ignores SIGTERM", async () => {
  await using directory = await tempDir("sqfstar");
  const image = await planOf(directory.path, [{ name: "a", data: noise(4 << 20) }]);
  const output = directory.join("out.sqfs");
  const stop = new AbortController();
  const building = build(image, output, {
    signal: stop.signal,
    path: `${BIN}/stuck_squashfs_tools:/usr/bin:/bin`,
  });
  const failed = assert.rejects(building, /told to stop/);
  let pids: string[] = [];
  await until(async () => {
    pids = (await Deno.readTextFile(`${output}.pids`).catch(() => "")).trim().split(" ");
    return pids.length === 2;
  }, "the fake sqfstar runs");
  stop.abort(new Error("told to stop"));
  await failed;
  // A killed child of a killed parent is a zombie until process 1 gets round to it.
  for (const pid of pids) {
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "gone Z");
    assert.match(stat, / Z/);
  }
});

Deno.test("buildSquashfs() ends sqfstar when a layer turns out damaged", async () => {
  await using directory = await tempDir("sqfstar");
  const image = await planOf(directory.path, [{ name: "a", data: noise(4 << 20) }, {
    name: "b",
    data: noise(4 << 20),
  }]);
  await Deno.truncate(directory.join("layer"), 6 << 20);
  const output = directory.join("out.sqfs");
  await assert.rejects(build(image, output), (error: DamagedLayer) => {
    assert.ok(error instanceof DamagedLayer, String(error));
    assert.equal(error.digest, "sha256:layer0");
    return true;
  });
  assert.equal(await isRunning(output), false);
});

Deno.test("buildSquashfs() reports what sqfstar says when it fails", async () => {
  await using directory = await tempDir("sqfstar");
  const image = await planOf(directory.path, [{ name: "a", data: noise(4 << 20) }]);
  await assert.rejects(build(image, directory.join("no/such/out.sqfs")), (error: Failure) => {
    assert.ok(error instanceof Failure, String(error));
    assert.equal(error.code, "converter_failed");
    assert.match(error.message, /exited 1.*No such file or directory/);
    return true;
  });
});

Deno.test("buildSquashfs() leaves no sqfstar behind when we are killed", async () => {
  await using directory = await tempDir("sqfstar");
  await planOf(
    directory.path,
    Array.from({ length: 60 }, (_, number) => ({ name: `f${number}`, data: noise(4 << 20) })),
  );
  const output = directory.join("out.sqfs");
  await using ours = start([
    Deno.execPath(),
    "run",
    "-A",
    "--no-check",
    SQUASH_LAYERS,
    output,
    directory.join("layer"),
  ]);
  await until(() => isRunning(output), "sqfstar runs");
  ours.kill("SIGKILL");
  await ours.done;
  await until(async () => !await isRunning(output), "sqfstar has ended");
});

Deno.test({
  ...needs({ root: true, programs: ["unshare"] }),
  name: "buildSquashfs() names the directory that is full",
  async fn() {
    await using directory = await tempDir("sqfstar");
    await planOf(directory.path, [{ name: "a", data: noise(4 << 20) }]);
    await Deno.mkdir(directory.join("small"));
    const output = directory.join("small/out.sqfs");
    const command = 'mount -t tmpfs -o size=1m none "$1"; shift; exec "$@"';
    const deno = [Deno.execPath(), "run", "-A", "--no-check", SQUASH_LAYERS, output, directory.join("layer")];
    const { stdout, stderr } = await run([
      "unshare",
      "-m",
      "sh",
      "-c",
      command,
      "sh",
      directory.join("small"),
      ...deno,
    ]);
    assert.match(stdout, /^no_space: Cannot write the image in ".*\/small\/"/, stderr);
  },
});
