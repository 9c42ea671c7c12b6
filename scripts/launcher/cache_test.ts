import assert from "node:assert/strict";
import { busyboxMachine, type Machine, treeOf } from "../../testdata/busybox_machine.ts";
import { needs, privateMounts, ptrace } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../../testdata/portable.ts";
import { inRoot, ROOT_PROGRAMS } from "../../testdata/roots.ts";
import { run, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { importArguments, startTourRegistry } from "../../testdata/tour.ts";

const BUILT = needs({ programs: BUILD_PROGRAMS });
const IN_ROOTS = needs({
  root: true,
  programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS],
  kernel: [privateMounts],
});
const TRACED = needs({ programs: [...BUILD_PROGRAMS, "strace"], kernel: [ptrace] });
const LONG_MS = 300_000;
/** What the runtime itself keeps. */
const RUNTIME_CACHE = /^\S+ \S+ \S+ \S+ (?:[0-9a-f]{32}\/)?deno\./;

/** What an undisturbed start leaves in `cache`. */
async function modelTree(): Promise<string[]> {
  await using dir = await tempDir("model");
  assert.equal((await run([await portableFile(), "--version"], { env: { DAVIT_CACHE: dir.path } })).code, 0);
  return await treeOf(dir.path, RUNTIME_CACHE);
}

async function startAll(count: number, argv: readonly string[], cache: string): Promise<void> {
  const options = { env: { DAVIT_CACHE: cache }, timeoutMs: LONG_MS };
  const ended = await Promise.all(Array.from({ length: count }, () => run(argv, options)));
  for (const { code, stdout, stderr } of ended) {
    assert.deepEqual([code, stderr], [0, ""], stderr);
    assert.match(stdout, /^davit \d/);
  }
}

Deno.test({
  ...BUILT,
  name: "a hundred first starts of the portable file at once unpack one set of parts",
  async fn() {
    await using dir = await tempDir("cache");
    await startAll(100, [await portableFile(), "--version"], dir.join("cache"));
    assert.deepEqual(await treeOf(dir.join("cache"), RUNTIME_CACHE), await modelTree());
  },
});

Deno.test({
  ...TRACED,
  name: "twenty first starts of the portable file at once end well where no lock can be had",
  async fn() {
    await using dir = await tempDir("cache");
    const refusing = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-o", "/dev/null"];
    const faults = ["-e", "trace=flock", "-e", "inject=flock:error=ENOLCK"];
    await startAll(20, [...refusing, ...faults, await portableFile(), "--version"], dir.join("cache"));
    assert.deepEqual(await treeOf(dir.join("cache"), RUNTIME_CACHE), await modelTree());
  },
});

Deno.test({
  ...TRACED,
  name: "a first start of the portable file that is killed leaves nothing behind after the next",
  async fn(t) {
    await using dir = await tempDir("cache");
    const davit = await portableFile();
    const model = await modelTree();
    for (
      const [call, times] of [
        ["mkdir", [1, 2]],
        ["openat", [3]],
        ["write", [1, 100, 400, 780]],
        ["fdatasync", [1, 9]],
        ["fchmod", [5]],
        ["renameat", [1, 2, 14]],
      ] as const
    ) {
      for (const time of times) {
        await t.step(`${call} ${time}`, async () => {
          const cache = dir.join(`${call}-${time}`);
          const faults = ["-e", `trace=${call}`, "-e", `inject=${call}:signal=KILL:when=${time}`];
          const env = { DAVIT_CACHE: cache };
          const killed = await run(["strace", "-qq", "-o", "/dev/null", ...faults, davit, "--version"], {
            env,
          });
          assert.equal(killed.signal, "SIGKILL", `${killed.stdout}${killed.stderr}`);
          const next = await run([davit, "--version"], { env });
          assert.deepEqual([next.code, next.stderr], [0, ""]);
          assert.deepEqual(await treeOf(cache, RUNTIME_CACHE), model);
          await Deno.remove(cache, { recursive: true });
        });
      }
    }
  },
});

Deno.test({
  ...TRACED,
  name: "the portable file takes another place when writing fails half-way",
  async fn(t) {
    await using dir = await tempDir("cache");
    const davit = await portableFile();
    for (
      const [call, error, words] of [
        ["write", "ENOSPC", "No space left on device"],
        ["write", "EDQUOT", "Disk quota exceeded"],
        ["write", "EIO", "Input/output error"],
        ["fdatasync", "EIO", "Input/output error"],
        ["renameat", "EIO", "Input/output error"],
      ] as const
    ) {
      await t.step(`${call} ${error}`, async () => {
        const faults = ["-e", `trace=${call}`, "-e", `inject=${call}:error=${error}:when=3`];
        const env = { DAVIT_CACHE: dir.join("first"), XDG_CACHE_HOME: dir.path };
        const line = ["strace", "-qq", "-o", "/dev/null", ...faults, davit, "self", "--json"];
        const { code, stdout, stderr } = await run(line, { env });
        assert.equal(code, 0, stderr);
        assert(JSON.parse(stdout).unpacked.startsWith(`${dir.path}/davit/`), stdout);
        assert.match(
          stderr,
          new RegExp(`^davit: cannot use DAVIT_CACHE: ${dir.join("first")}/[0-9a-f]+: ${words}\n$`),
        );
        const left = await treeOf(dir.join("first"));
        assert.deepEqual(left.filter((name) => / \.new\./.test(name)), []);
        for (const name of ["first", "davit"]) await Deno.remove(dir.join(name), { recursive: true });
      });
    }
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file starts again after its directory was wiped, in whole or in part",
  async fn() {
    await using machine = await busyboxMachine();
    const first = await machine.self();
    for (const gone of ["/var/tmp/davit-0", first.facts.unpacked!, `${first.facts.unpacked}/runtime`]) {
      await Deno.remove(machine.root + gone, { recursive: true });
      const { facts, stderr } = await machine.self();
      assert.deepEqual([facts.unpacked, stderr], [first.facts.unpacked, ""]);
    }
  },
});

Deno.test({
  ...IN_ROOTS,
  name:
    "an import goes on when the directory that davit runs from is removed, and starts its tools after that",
  async fn() {
    await using machine = await busyboxMachine();
    await using registry = await startTourRegistry(2 << 20);
    const { facts } = await machine.self();
    registry.knobs.stallAt = { byte: 10, times: 1 };
    const args = [...importArguments(registry, "/out.sqsh", "/layers"), "--stall-timeout", "3s"];
    await using davit = start(inRoot(machine.root, ["/davit", ...args]), { timeoutMs: LONG_MS });
    await waitUntil(() => registry.seen.some(({ path }) => path.includes("/blobs/")), davit.done);

    await Deno.remove(`${machine.root}/var/tmp/davit-0`, { recursive: true });
    const { code, stdout, stderr } = await davit.done;

    assert.deepEqual([code, stdout], [0, "/out.sqsh\n"], stderr);
    assert.match(stderr, /sent nothing for 3/);
    const checked = await machine.run(["/davit", "image", "check", "/out.sqsh", "--deep"]);
    assert.match(checked.stdout, /^valid: /);
    assert((await wholeParts(machine, facts.unpacked!)).includes("sqfstar"));
  },
});

async function wholeParts(machine: Machine, directory: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(machine.root + directory))).map(({ name }) => name);
}

async function waitUntil(isSo: () => boolean, ended: Promise<unknown>): Promise<void> {
  let over = false;
  ended.finally(() => over = true).catch(() => {});
  while (!isSo()) {
    assert(!over, "davit ended before");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
