import assert from "node:assert/strict";
import { Failure } from "../lib/failure.ts";
import { needs } from "../testdata/needs.ts";
import { must } from "../testdata/real_registry.ts";
import { run } from "../testdata/run.ts";
import { brokenRules } from "../testdata/spdx_rules.ts";
import { tempDir } from "../testdata/temp.ts";
import type { Compiled, CompileOptions } from "./compile.ts";
import { release, table } from "./release.ts";

const ROOT = decodeURIComponent(new URL("../", import.meta.url).pathname);
const versioned = needs({ programs: ["git", "sha256sum"] });
const COMMIT_SECONDS = 1_700_000_000;
const NAMES = [
  "SHA256SUMS",
  "davit",
  "davit-0.1.0.spdx.json",
  "davit-aarch64-linux-portable",
  "davit-x86_64-linux-portable",
  "install.sh",
];

/** Makes files as compile() does, of a few bytes, in place of half a minute's work. */
async function standInCompile({ arch, outDir }: CompileOptions): Promise<Compiled> {
  const path = `${outDir}/davit-${arch}-linux-portable`;
  await Deno.writeTextFile(path, `portable for ${arch}\n`, { mode: 0o700 });
  if (arch === "x86_64") await Deno.symlink(path.replace(/^.*\//, ""), `${outDir}/davit`);
  const sha256 = "0".repeat(64);
  const packed = [
    { name: "main.js", origin: "davit", version: "0.1.0", sha256 },
    { name: "libc.so.6", origin: "libc6", version: "2.36-9", sha256 },
  ];
  return { arch, files: [{ path, kind: "portable" }], packed };
}

/** A checkout with one commit; dist is ignored, as here. */
async function checkout() {
  const dir = await tempDir("release");
  const root = dir.join("repo");
  await Deno.mkdir(`${root}/scripts`, { recursive: true });
  for (const name of ["deno.lock", "scripts/install.sh"]) await Deno.copyFile(ROOT + name, `${root}/${name}`);
  const manifest = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  await Deno.writeTextFile(`${root}/deno.json`, JSON.stringify({ ...manifest, version: "0.1.0" }));
  await Deno.writeTextFile(`${root}/main.ts`, 'import "commander";\n');
  await Deno.writeTextFile(`${root}/.gitignore`, "dist\n");
  const git = (...args: string[]) =>
    must(["git", "-C", root, "-c", "user.name=x", "-c", "user.email=x@x.invalid", ...args]);
  await git("init", "-q");
  await git("add", "-A");
  const date = `${COMMIT_SECONDS} +0000`;
  await must([
    "env",
    `GIT_COMMITTER_DATE=${date}`,
    "git",
    "-C",
    root,
    "-c",
    "user.name=x",
    "-c",
    "user.email=x@x.invalid",
    "commit",
    "-q",
    "-m",
    "one",
  ]);
  const outDir = `${root}/dist`;
  const options = { root, outDir, targets: ["x86_64", "aarch64"] as const, compile: standInCompile };
  return { root, outDir, git, options, [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() };
}

async function namesIn(path: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name).sort();
}

const refused = (message: RegExp) => (error: unknown) =>
  error instanceof Failure && error.exitStatus === 3 && message.test(error.message);

Deno.test({
  ...versioned,
  name: "release() makes all files, and sums that sha256sum confirms",
  async fn() {
    await using place = await checkout();
    const released = await release(place.options);
    assert.deepEqual(await namesIn(place.outDir), NAMES);
    assert.equal(await Deno.readLink(`${place.outDir}/davit`), "davit-x86_64-linux-portable");
    const checked = await must(["sha256sum", "--check", "--strict", "SHA256SUMS"], place.outDir);
    assert.deepEqual(checked.trim().split("\n"), NAMES.slice(2).map((name) => `${name}: OK`));
    for (const name of NAMES) {
      const { mode } = await Deno.stat(`${place.outDir}/${name}`);
      assert.equal(mode! & 0o777, /json|SUMS/.test(name) ? 0o644 : 0o755, name);
    }
    assert.deepEqual(
      await Deno.readFile(`${place.outDir}/install.sh`),
      await Deno.readFile(`${ROOT}scripts/install.sh`),
    );
    const document = JSON.parse(await Deno.readTextFile(`${place.outDir}/davit-0.1.0.spdx.json`));
    assert.deepEqual(brokenRules(document), []);
    assert.equal(document.creationInfo.created, "2023-11-14T22:13:20Z");
    const commit = (await place.git("rev-parse", "HEAD")).trim();
    assert.equal(document.packages[0].sourceInfo, `git commit ${commit}`);

    const lines = table(released).split("\n");
    assert.match(lines[1]!, /^davit-aarch64-linux-portable {5}21 {2}[0-9a-f]{64}$/);
  },
});

Deno.test({
  ...versioned,
  name: "release() makes the same bytes of the same commit, wherever and whenever",
  async fn() {
    await using place = await checkout();
    await release(place.options);
    const other = `${place.root}/../other`;
    await must(["git", "clone", "-q", place.root, other]);
    await release({ ...place.options, root: other, outDir: `${other}/dist` });
    await must(["diff", "-r", place.outDir, `${other}/dist`]);
    const moved = await release({ ...place.options, epoch: COMMIT_SECONDS + 1 });
    assert.match(
      await Deno.readTextFile(`${place.outDir}/${moved[0]!.name}`),
      /"created": "2023-11-14T22:13:21Z"/,
    );
  },
});

Deno.test({
  ...versioned,
  name: "release() refuses what is not committed, and says so where it is allowed",
  async fn(t) {
    const changes: [string, (root: string) => Promise<unknown>, string][] = [
      [
        "a changed file",
        (root) => Deno.writeTextFile(`${root}/main.ts`, "//\n", { append: true }),
        "main.ts",
      ],
      ["a new file", (root) => Deno.writeTextFile(`${root}/new.ts`, ""), "new.ts"],
      ["a removed file", (root) => Deno.remove(`${root}/.gitignore`), ".gitignore"],
    ];
    for (const [name, change, file] of changes) {
      await t.step(name, async () => {
        await using place = await checkout();
        await change(place.root);
        const escaped = file.replaceAll(".", "\\.");
        const message = new RegExp(
          `^Cannot release "\\S+": 1 uncommitted changes \\(${escaped}\\) now, a clean`,
        );
        await assert.rejects(release(place.options), refused(message));
        await assert.rejects(Deno.stat(place.outDir), Deno.errors.NotFound);
        await release({ ...place.options, allowDirty: true });
        const text = await Deno.readTextFile(`${place.outDir}/davit-0.1.0.spdx.json`);
        assert.match(text, /git commit [0-9a-f]{40}, with changes that are not committed"/);
      });
    }
    for (
      const [name, meanwhile] of [
        ["changes while it is built", (place) => Deno.writeTextFile(`${place.root}/new.ts`, "")],
        ["another commit while it is built", (place) => place.git("commit", "--allow-empty", "-qm", "two")],
      ] as [string, (place: Awaited<ReturnType<typeof checkout>>) => Promise<unknown>][]
    ) {
      await t.step(name, async () => {
        await using place = await checkout();
        const compile = async (options: CompileOptions) => {
          if (options.arch === "x86_64") await meanwhile(place);
          return await standInCompile(options);
        };
        await assert.rejects(release({ ...place.options, compile }), refused(/ while it was built, a clean/));
        assert.deepEqual(await namesIn(place.outDir), []);
      });
    }
  },
});

Deno.test({
  ...versioned,
  name: "release() leaves the last release as it is when it fails, and nothing of it when it succeeds",
  async fn() {
    await using place = await checkout();
    await release(place.options);
    await Deno.writeTextFile(`${place.outDir}/davit-0.0.9.spdx.json`, "{}");
    await Deno.writeTextFile(`${place.outDir}/davit-x86_64-linux`, "of another day");
    await Deno.writeTextFile(`${place.outDir}/notes`, "somebody's");
    const before = await namesIn(place.outDir);
    const compile = (options: CompileOptions) =>
      options.arch === "aarch64" ? Promise.reject(new Error("no cross compiler")) : standInCompile(options);
    await assert.rejects(release({ ...place.options, compile }), /no cross compiler/);
    assert.deepEqual(await namesIn(place.outDir), before);
    await must(["sha256sum", "--check", "--quiet", "SHA256SUMS"], place.outDir);
    await release(place.options);
    assert.deepEqual(await namesIn(place.outDir), [...NAMES, "notes"]);
  },
});

Deno.test({
  ...versioned,
  name: "release() works without git, dated by SOURCE_DATE_EPOCH or 1970",
  async fn() {
    await using place = await checkout();
    await Deno.remove(`${place.root}/.git`, { recursive: true });
    for (const [epoch, created] of [[undefined, "1970-01-01T00:00:00Z"], [86_400, "1970-01-02T00:00:00Z"]]) {
      await release({ ...place.options, ...typeof epoch === "number" && { epoch } });
      const document = JSON.parse(await Deno.readTextFile(`${place.outDir}/davit-0.1.0.spdx.json`));
      assert.equal(document.creationInfo.created, created);
      assert.equal(document.packages[0].sourceInfo, undefined);
    }
  },
});

Deno.test("scripts/release.ts refuses what it does not understand", async (t) => {
  const program = [Deno.execPath(), "run", "-A", "--quiet", `${ROOT}scripts/release.ts`];
  await t.step("SOURCE_DATE_EPOCH", async () => {
    const { code, stderr } = await run(program, { env: { SOURCE_DATE_EPOCH: "yesterday" } });
    assert.equal(code, 78);
    assert.equal(
      stderr,
      'Cannot use SOURCE_DATE_EPOCH="yesterday": seconds since 1970 were wanted\n',
    );
  });
  await t.step("an architecture", async () => {
    const { code, stderr } = await run([...program, "--target", "riscv64"]);
    assert.notEqual(code, 0);
    assert.match(stderr, /'riscv64' is invalid. Allowed choices are x86_64, aarch64/);
  });
});
