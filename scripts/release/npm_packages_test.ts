import assert from "node:assert/strict";
import { must } from "../../testdata/real_registry.ts";
import { needs } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { readNpmPackages } from "./npm_packages.ts";

const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);

Deno.test("readNpmPackages() lists every npm package of deno.lock", async () => {
  const lock = JSON.parse(await Deno.readTextFile(`${ROOT}deno.lock`));
  const packages = await readNpmPackages(ROOT);
  const keys = Object.keys(lock.npm).map((key) => key.replace(/_.*/, "")).sort();
  assert.deepEqual(packages.map(({ name, version }) => `${name}@${version}`).sort(), keys);
  const byName = new Map(packages.map((item) => [item.name, item]));
  assert.deepEqual(
    ["commander", "zod", "fast-check", "pure-rand"].map((name) => byName.get(name)!.use),
    ["direct", "direct", "dev", "dev"],
  );
  assert.deepEqual(
    packages.filter(({ license }) => license === undefined),
    [],
    "all are in the cache and say theirs",
  );
  const { version, checksum } = byName.get("commander")!;
  const integrity: string = lock.npm[`commander@${version}`].integrity;
  assert.deepEqual([checksum.algorithm, checksum.hex], [
    "SHA512",
    Uint8Array.fromBase64(integrity.replace("sha512-", "")).toHex(),
  ]);
  assert.deepEqual(byName.get("@commander-js/extra-typings")!.dependencies, [`commander@${version}`]);
});

Deno.test({
  ...needs({ root: true, programs: ["unshare"] }),
  name: "readNpmPackages() needs no network",
  async fn() {
    const module = new URL("./npm_packages.ts", import.meta.url).href;
    const program =
      `import { readNpmPackages } from "${module}"; console.log((await readNpmPackages("${ROOT}")).length);`;
    const argv = ["unshare", "-n", Deno.execPath(), "run", "-A", "--quiet", "--cached-only", "-"];
    const { code, stdout, stderr } = await run(argv, { stdin: program });
    assert.equal(code, 0, stderr);
    assert.ok(Number(stdout) > 3);
  },
});

/** A checkout with this repository's dependencies, a small main.ts, and a lock file that `change` damages. */
async function listed(change: (lock: Record<string, Record<string, Record<string, unknown>>>) => void) {
  await using dir = await tempDir("npm");
  await Deno.copyFile(`${ROOT}deno.json`, dir.join("deno.json"));
  await Deno.writeTextFile(dir.join("main.ts"), 'import "@commander-js/extra-typings";\n');
  const lock = JSON.parse(await must(["cat", `${ROOT}deno.lock`]));
  change(lock);
  await Deno.writeTextFile(dir.join("deno.lock"), JSON.stringify(lock));
  return await readNpmPackages(dir.path);
}

Deno.test("readNpmPackages() tells what main.ts needs from what only tests need", async () => {
  const uses = new Map((await listed(() => {})).map(({ name, use }) => [name, use]));
  const names = ["@commander-js/extra-typings", "commander", "fast-check", "pure-rand", "zod"];
  assert.deepEqual(names.map((name) => uses.get(name)), ["direct", "indirect", "dev", "dev", "dev"]);
});

Deno.test("readNpmPackages() refuses a lock file that it cannot list whole", async (t) => {
  const cases: [string, Parameters<typeof listed>[0], RegExp][] = [
    ["JSR", (lock) => lock.jsr = { "@a/b@1.0.0": {} }, /under "jsr": only npm packages were wanted/],
    ["a URL", (lock) => lock.remote = { "https://x.invalid/a.ts": {} }, /under "remote"/],
    [
      "no checksum",
      (lock) => delete lock.npm!["zod@4.6.7"]!.integrity,
      /checksum of "zod@4.6.7" .*got "none"/,
    ],
    ["another checksum", (lock) => lock.npm!["zod@4.6.7"]!.integrity = "md5-AAAA", /got "md5-AAAA"/],
    [
      "a lost dependency",
      (lock) => lock.npm!["fast-check@4.10.2"]!.dependencies = ["nowhere"],
      /nowhere/,
    ],
  ];
  for (const [name, change, message] of cases) {
    await t.step(name, async () => {
      await assert.rejects(listed(change), message);
    });
  }
});
