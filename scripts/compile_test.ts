import assert from "node:assert/strict";
import { findProgram, needs, privateMounts } from "../testdata/needs.ts";
import { BUILD_PROGRAMS } from "../testdata/portable.ts";
import { must } from "../testdata/real_registry.ts";
import { run, type RunOptions, type RunResult } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { VERSION } from "../lib/version.ts";
import { hostArchitecture } from "./compile/target.ts";
import { sha256Hex } from "./pack.ts";

const ROOT = decodeURIComponent(new URL("../", import.meta.url).pathname).slice(0, -1);
const buildNeeds = needs({ programs: BUILD_PROGRAMS });
const LONG_MS = 300_000;
const PORTABLE = `davit-${hostArchitecture()}-linux-portable`;

/** What the build reads of a checkout. */
const SOURCES = ["main.ts", "deno.json", "deno.lock", "cmd", "lib", "scripts", "testdata"];

/** The command line that builds from the checkout at `root`. */
function compileArgv(out: string, flags: readonly string[], root = ROOT): string[] {
  const deno = [Deno.execPath(), "run", "-A", "--no-prompt", `--config=${root}/deno.json`];
  return [...deno, `${root}/scripts/compile.ts`, "--level", "1", "--out", out, ...flags];
}

async function compile(out: string, options: RunOptions = {}, ...flags: string[]): Promise<RunResult> {
  const env = { DENORT_BIN: undefined, NO_COLOR: "1", ...options.env };
  return await run(compileArgv(out, flags), { ...options, env, timeoutMs: LONG_MS });
}

async function namesIn(directory: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => name).sort();
}

Deno.test({
  name: "compile: two builds are equal byte by byte, whatever checkout, directory, umask, TMPDIR and locale",
  ...buildNeeds,
  async fn() {
    await using dir = await tempDir("compile");
    const [first, second] = [dir.join("first"), dir.join("second")];
    await Deno.mkdir(dir.join("a long temporary place"));
    const [here, there] = [dir.join("checkout"), dir.join("somewhere else, checkout")];
    await Deno.mkdir(here);
    await must(["cp", "-r", ...SOURCES.map((name) => `${ROOT}/${name}`), here]);
    await must(compileArgv(first, ["--no-download"], here));
    await Deno.rename(here, there);
    const strange = [
      "sh",
      "-c",
      'umask 077; exec "$@"',
      "sh",
      ...compileArgv(second, ["--no-download"], there),
    ];
    const { code, stderr } = await run(strange, {
      cwd: "/",
      timeoutMs: LONG_MS,
      env: {
        DENORT_BIN: undefined,
        TMPDIR: dir.join("a long temporary place"),
        TZ: "Asia/Kathmandu",
        LC_ALL: "C",
        SOURCE_DATE_EPOCH: "1",
      },
    });
    assert.equal(code, 0, stderr);
    const digests = await Promise.all(
      [first, second].map(async (out) => await sha256Hex(await Deno.readFile(`${out}/${PORTABLE}`))),
    );
    assert.equal(digests[0], digests[1]);
    assert.equal((await Deno.stat(`${second}/${PORTABLE}`)).mode! & 0o777, 0o755);
    assert.deepEqual(await namesIn(second), ["davit", PORTABLE]);
    assert.equal(await Deno.readLink(`${second}/davit`), PORTABLE);
    assert.deepEqual(await namesIn(dir.join("a long temporary place")), []);
    // The link is to the file beside it, wherever both are moved.
    await Deno.rename(second, dir.join("moved"));
    const env = { DAVIT_CACHE: dir.join("cache") };
    const { stdout } = await run([dir.join("moved/davit"), "--version"], { env });
    assert.equal(stdout, `davit ${VERSION}\n`);
  },
});

Deno.test({
  name: "compile: embeds davit where there is a runtime, and takes only what then is davit",
  ...buildNeeds,
  async fn(t) {
    await using dir = await tempDir("compile");
    const out = dir.join("out");
    await t.step("deno in the runtime's place", async () => {
      const { code, stderr } = await compile(out, { env: { DENORT_BIN: Deno.execPath() } });
      assert.equal(code, 0, stderr);
      const [, bytes] =
        /no compiled file: davit is embedded \((\d+) bytes\), but DENORT_BIN is not denort: it says "deno /
          .exec(stderr) ?? [];
      const { size } = await Deno.stat(Deno.execPath());
      assert.ok(Number(bytes) > size + 100_000, stderr);
      assert.deepEqual(await namesIn(out), ["davit", PORTABLE]);
    });
    await t.step("nothing in its place, over an earlier build", async () => {
      const { code, stderr } = await compile(out, { env: { DENORT_BIN: "/nonexistent/denort" } });
      assert.equal(code, 0, stderr);
      assert.match(stderr, /^no compiled file: .+\n/m);
      assert.deepEqual(await namesIn(out), ["davit", PORTABLE]);
    });
  },
});

Deno.test({
  name: "compile: says which package is missing, before anything is built",
  ...buildNeeds,
  async fn(t) {
    for (const [program, name] of [["cc", "gcc"], ["zstd", "zstd"], ["readelf", "binutils"]] as const) {
      await t.step(program, async () => {
        await using dir = await tempDir("compile");
        const bin = dir.join("bin");
        await Deno.mkdir(bin);
        for (const other of BUILD_PROGRAMS.filter((other) => other !== program)) {
          await Deno.symlink(findProgram(other)!, `${bin}/${other}`);
        }
        const { code, stdout, stderr } = await compile(
          dir.join("out"),
          { env: { PATH: bin } },
          "--no-download",
        );
        assert.deepEqual([code, stdout], [69, ""]);
        const hint = `davit: Debian packages are missing; install them with: sudo apt-get install -y `;
        assert.ok(stderr.startsWith(hint), stderr);
        assert.ok(stderr.slice(hint.length).trim().split(" ").includes(name), stderr);
        await assert.rejects(Deno.stat(dir.join("out")), Deno.errors.NotFound);
      });
    }
  },
});

Deno.test({
  name: "compile: a compiler that fails is quoted, and nothing is left",
  ...buildNeeds,
  async fn() {
    await using dir = await tempDir("compile");
    await Deno.mkdir(dir.join("bin"));
    await Deno.mkdir(dir.join("temp"));
    await Deno.writeTextFile(dir.join("bin/cc"), "#!/bin/sh\necho 'no space left' >&2; exit 4\n", {
      mode: 0o755,
    });
    const env = { PATH: `${dir.join("bin")}:${Deno.env.get("PATH")}`, TMPDIR: dir.join("temp") };
    const { code, stderr } = await compile(dir.join("out"), { env }, "--no-download");
    assert.notEqual(code, 0);
    assert.match(stderr, /"cc .*" ended with status 4: no space left/);
    assert.deepEqual(await namesIn(dir.join("out")), []);
    assert.deepEqual(await namesIn(dir.join("temp")), []);
  },
});

Deno.test({
  name: "compile: replaces a davit that runs, and keeps it running",
  ...buildNeeds,
  async fn() {
    await using dir = await tempDir("compile");
    const out = dir.join("out");
    assert.equal((await compile(out, {}, "--no-download")).code, 0);
    const before = await Deno.stat(`${out}/${PORTABLE}`);
    using held = await Deno.open(`${out}/${PORTABLE}`);
    assert.equal((await compile(out, {}, "--no-download")).code, 0);
    assert.notEqual((await Deno.stat(`${out}/${PORTABLE}`)).ino, before.ino);
    assert.equal((await held.stat()).size, before.size);
  },
});

Deno.test({
  name: "compile: writes to --out and its temporary directory, and nowhere else",
  ...needs({ root: true, programs: [...BUILD_PROGRAMS, "unshare"], kernel: [privateMounts] }),
  async fn() {
    await using dir = await tempDir("compile");
    for (const name of ["out", "temp", "cache"]) await Deno.mkdir(dir.join(name));
    // What has been fetched before: without it `deno bundle` would fetch its esbuild again.
    const denoDir = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
    const script = `
      for mount in $(awk '{ print $2 }' /proc/self/mounts); do
        case $mount in /proc* | /dev | /dev/pts) ;; *) mount -o remount,bind,ro "$mount" 2> /dev/null ;; esac
      done
      ! touch / 2> /dev/null || { echo "the root is writable"; exit 99; }
      for name in out temp; do mount -t tmpfs none "$0/$name" || exit 98; done
      "$@" || exit
      ls "$0/out" "$0/temp"`;
    const line = [
      "unshare",
      "--mount",
      "sh",
      "-c",
      script,
      dir.path,
      ...compileArgv(dir.join("out"), ["--no-download"]),
    ];
    const { code, stdout, stderr } = await run(line, {
      env: { TMPDIR: dir.join("temp"), DENO_DIR: denoDir, DENORT_BIN: undefined },
      timeoutMs: LONG_MS,
    });
    assert.equal(code, 0, stdout + stderr);
    assert.equal(stdout, `${dir.join("out")}:\ndavit\n${PORTABLE}\n\n${dir.join("temp")}:\n`);
  },
});
