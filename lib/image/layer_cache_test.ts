import assert from "node:assert/strict";
import { type KnobRegistry, type Knobs, startKnobRegistry } from "../../testdata/knob_registry.ts";
import { digestOf, makeImage, tarOf } from "../../testdata/make_image.ts";
import { needs, privateMounts, ptrace } from "../../testdata/needs.ts";
import { testOptions } from "../../testdata/registry_options.ts";
import { tempDir } from "../../testdata/temp.ts";
import { EXIT } from "../failure.ts";
import { cachePath, discardLayer, fetchLayers, missingBytes } from "./layer_cache.ts";
import { parseReference } from "./reference.ts";
import { openRegistry, type RegistryOptions } from "./registry.ts";
import type { Descriptor } from "./types.ts";

const noise = crypto.getRandomValues(new Uint8Array(60_000));
const image = makeImage([
  tarOf({ "a": noise }),
  tarOf({ "b": "small" }),
  tarOf({ "big": await new Blob(Array(50).fill(noise)).bytes() }),
]);
const layers: Descriptor[] = image.layers.map(({ mediaType, digest, size }) => ({
  mediaType,
  digest,
  sizeBytes: size,
}));
const PROGRAM = new URL("../../testdata/fetch_layers.ts", import.meta.url).pathname;

async function start(knobs: Knobs = {}): Promise<KnobRegistry> {
  const registry = await startKnobRegistry({ knobs });
  registry.add("app", "1", image);
  return registry;
}

async function fetchAll(
  registry: KnobRegistry,
  cacheDir: string,
  over: Partial<RegistryOptions> = {},
  wanted: readonly Descriptor[] = layers,
): Promise<{ paths: Map<string, string>; lines: string[] }> {
  const options = testOptions(over);
  using client = await openRegistry(parseReference(`${registry.host}/app:1`), options);
  const paths = await fetchLayers(wanted, { ...options, open: client.openBlob, cacheDir });
  return { paths, lines: options.lines };
}

/** The cache has exactly the layers, with the right content, and nothing else. */
async function assertWhole(cacheDir: string, wanted: readonly Descriptor[] = layers): Promise<void> {
  const names = (await Array.fromAsync(Deno.readDir(`${cacheDir}/blobs/sha256`))).map(({ name }) => name)
    .sort();
  assert.deepEqual(names, wanted.map(({ digest }) => digest.slice(7)).sort());
  for (const { digest } of wanted) {
    assert.equal(digestOf(await Deno.readFile(cachePath(cacheDir, digest))), digest);
  }
}

async function namesIn(cacheDir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(`${cacheDir}/blobs/sha256`))).map(({ name }) => name);
}

Deno.test("fetchLayers() fetches each digest once and then never again", async () => {
  await using dir = await tempDir("cache");
  await using registry = await start();
  const cacheDir = dir.join("new/cache");
  const all = [...layers, layers[0]!];
  assert.equal(await missingBytes(all, cacheDir), layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  const { paths } = await fetchAll(registry, cacheDir, {}, all);
  assert.deepEqual([...paths.keys()].sort(), layers.map(({ digest }) => digest).sort());
  await assertWhole(cacheDir);
  assert.equal((await Deno.stat(cacheDir)).mode! & 0o777, 0o700);
  await fetchAll(registry, cacheDir);
  assert.deepEqual([...registry.blobGets().values()], [1, 1, 1]);
  assert.equal(await missingBytes(all, cacheDir), 0);
});

Deno.test("fetchLayers() resumes after cuts and stalls at the byte it reached", async (t) => {
  const big = layers[2]!;
  const ranges = (registry: KnobRegistry) => registry.seen.map(({ headers }) => headers.range ?? "");
  await t.step("cut", async () => {
    await using dir = await tempDir("cache");
    await using registry = await start({ cutAt: { byte: 1_500_000, times: 2 } });
    await fetchAll(registry, dir.path, { retries: 2 }, [big]);
    await assertWhole(dir.path, [big]);
    const [first, ...later] = ranges(registry);
    assert.equal(first, "");
    assert.equal(later.length, 2);
    assert(later.every((range) => /^bytes=[1-9]\d*-$/.test(range)), later.join());
  });
  await t.step("stall", async () => {
    await using dir = await tempDir("cache");
    await using registry = await start({ stallAt: { byte: 1_000_000, times: 1 } });
    await fetchAll(registry, dir.path, { retries: 1, stallTimeoutMs: 300 }, [big]);
    await assertWhole(dir.path, [big]);
    assert.deepEqual(ranges(registry), ["", "bytes=1000000-"]);
  });
  await t.step("no ranges", async () => {
    await using dir = await tempDir("cache");
    await using registry = await start({ cutAt: { byte: 1_500_000, times: 1 }, ignoreRange: true });
    await fetchAll(registry, dir.path, { retries: 1 }, [big]);
    await assertWhole(dir.path, [big]);
  });
  await t.step("for ever", async () => {
    await using dir = await tempDir("cache");
    await using registry = await start({ cutAt: { byte: 0, times: Infinity } });
    await assert.rejects(fetchAll(registry, dir.path, { retries: 2 }, [big]), {
      code: "registry_transient",
      message: /cut the connection \(after 3 tries\)/,
    });
    assert.deepEqual(await namesIn(dir.path), []);
  });
  await t.step("every fourth request is refused", async () => {
    await using dir = await tempDir("cache");
    await using registry = await start({ failEvery: { n: 4, status: 503, retryAfter: "0" } });
    for (let round = 0; round < 3; round++) {
      await fetchAll(registry, dir.path);
      await assertWhole(dir.path);
      for (const { digest } of layers) await discardLayer(dir.path, digest);
    }
  });
});

Deno.test("fetchLayers() never keeps wrong bytes", async (t) => {
  await t.step("once wrong, fetched anew", async () => {
    await using dir = await tempDir("cache");
    await using registry = await start({ spoil: { times: 1 } });
    const { lines } = await fetchAll(registry, dir.path);
    await assertWhole(dir.path);
    assert.match(lines.join("\n"), /wrong content, fetching it anew/);
  });
  await t.step("twice wrong, refused", async () => {
    await using dir = await tempDir("cache");
    await using registry = await start({ spoil: { times: Infinity } });
    await assert.rejects(fetchAll(registry, dir.path), { code: "digest_mismatch", exitStatus: EXIT.DATAERR });
    assert.deepEqual(await namesIn(dir.path), []);
  });
  await t.step("another size than promised", async () => {
    await using dir = await tempDir("cache");
    await using registry = await start();
    const wrong = { ...layers[1]!, sizeBytes: layers[1]!.sizeBytes - 1 };
    await assert.rejects(fetchAll(registry, dir.path, {}, [wrong]), {
      message: /offers \d+ bytes of a layer where/,
    });
    assert.deepEqual(await namesIn(dir.path), []);
  });
  await t.step("an endless body", async () => {
    await using dir = await tempDir("cache");
    const options = testOptions();
    const endless = async function* (): AsyncGenerator<Uint8Array, void, void> {
      while (true) yield await Promise.resolve(noise);
    };
    const open = () => Promise.resolve({ firstByte: 0, chunks: endless() });
    await assert.rejects(fetchLayers([layers[1]!], { ...options, open, cacheDir: dir.path }), {
      code: "digest_mismatch",
    });
  });
});

Deno.test("fetchLayers() heals a damaged cache", async () => {
  await using dir = await tempDir("cache");
  await using registry = await start();
  await fetchAll(registry, dir.path);
  await Deno.truncate(cachePath(dir.path, layers[0]!.digest), 100);
  const other = cachePath(dir.path, layers[1]!.digest);
  await Deno.writeFile(other, new Uint8Array(layers[1]!.sizeBytes));
  // Others may write to it: its content is not trusted.
  await Deno.chmod(other, 0o666);
  const { lines } = await fetchAll(registry, dir.path);
  await assertWhole(dir.path);
  assert.equal(lines.filter((line) => line.includes("damaged layer")).length, 2);
});

Deno.test("fetchLayers() ends all downloads when one fails or the signal says so", async () => {
  await using dir = await tempDir("cache");
  await using registry = await start({ stallAt: { byte: 10, times: 2 } });
  const gone = { ...layers[1]!, digest: digestOf(new Uint8Array([1])) };
  await assert.rejects(
    fetchAll(registry, dir.path, { stallTimeoutMs: 60_000 }, [layers[0]!, layers[2]!, gone]),
    {
      code: "registry_not_found",
    },
  );
  assert.deepEqual(await namesIn(dir.path), []);
  registry.knobs.stallAt = { byte: 10, times: 3 };
  const stop = new AbortController();
  const reason = new Error("enough");
  setTimeout(() => stop.abort(reason), 50);
  await assert.rejects(
    fetchAll(registry, dir.path, { stallTimeoutMs: 60_000, signal: stop.signal }),
    (error) => error === reason,
  );
  assert.deepEqual(await namesIn(dir.path), []);
});

function startFetch(registry: KnobRegistry, cacheDir: string, ...before: string[]): Deno.ChildProcess {
  const [program, ...args] = [
    ...before,
    Deno.execPath(),
    "run",
    "-A",
    PROGRAM,
    `${registry.host}/app:1`,
    cacheDir,
  ];
  return new Deno.Command(program!, { args, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
}

Deno.test("fetchLayers() in six processes on one cache", async () => {
  await using dir = await tempDir("cache");
  await using registry = await start({
    failEvery: { n: 5, status: 503 },
    cutAt: { byte: 1_000_000, times: 5 },
  });
  const children = Array.from({ length: 6 }, () => startFetch(registry, dir.path));
  for (const { code, stderr } of await Promise.all(children.map((child) => child.output()))) {
    assert.equal(code, 0, new TextDecoder().decode(stderr));
  }
  await assertWhole(dir.path);
});

Deno.test("what kill -9 leaves of a download, the next one removes", async () => {
  await using dir = await tempDir("cache");
  await using registry = await start({ stallAt: { byte: 2_000_000, times: 1 } });
  const child = startFetch(registry, dir.path);
  const hasTemp = async () =>
    (await namesIn(dir.path).catch(() => [])).some((name) => name.includes(".tmp."));
  while (!await hasTemp()) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill("SIGKILL");
  await child.output();
  assert(await hasTemp());
  const { lines } = await fetchAll(registry, dir.path);
  await assertWhole(dir.path);
  assert.match(lines.join("\n"), /removed what a dead process left/);
});

Deno.test({
  ...needs({ root: true, programs: ["unshare", "mount"], kernel: [privateMounts] }),
  name: "a full filesystem under the cache is named",
  async fn() {
    await using dir = await tempDir("cache");
    await using registry = await start();
    const script =
      'mount -t tmpfs -o size=1m tmpfs "$1" && shift && "$@"; code=$?; ls -A "$0/blobs/sha256" | wc -l; exit $code';
    const child = startFetch(
      registry,
      dir.path,
      "unshare",
      "--mount",
      "sh",
      "-c",
      script,
      dir.path,
      dir.path,
    );
    const { code, stdout, stderr } = await child.output();
    const said = new TextDecoder().decode(stderr);
    assert.equal(code, EXIT.IOERR, said);
    assert.match(said, /^no_space: Cannot write to the layer cache ".*": no space is left/);
    assert.match(said, /--cache-dir/);
    // No temp file stays behind; small layers may be done.
    assert(Number(new TextDecoder().decode(stdout)) <= 2);
  },
});

Deno.test({
  ...needs({ root: true, programs: ["unshare", "mount"], kernel: [privateMounts] }),
  name: "a cache that may not be written is named",
  async fn() {
    await using dir = await tempDir("cache");
    await using registry = await start();
    const script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"';
    const child = startFetch(registry, dir.path, "unshare", "--mount", "sh", "-c", script, "sh", dir.path);
    const { code, stderr } = await child.output();
    const said = new TextDecoder().decode(stderr);
    assert.equal(code, EXIT.CANTCREAT, said);
    assert.match(said, /^cannot_create: Cannot use the layer cache/m);
  },
});

Deno.test({
  ...needs({ programs: ["strace"], kernel: [ptrace] }),
  name: "fetchLayers() works where flock is refused",
  async fn() {
    await using dir = await tempDir("cache");
    await using registry = await start();
    const inject = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=flock:error=ENOLCK"];
    const { code, stderr } = await startFetch(registry, dir.path, "strace", ...inject).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    await assertWhole(dir.path);
  },
});
