/**
 * Refuses imports that point upward or across, and process globals below main.ts: main -> cmd -> lib, the wings of
 * lib know lib/host and the modules directly in lib but not each other, and nothing goes round in a circle.
 *
 * @module
 */
import assert from "node:assert/strict";
import { run } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";

const ROOT_URL = new URL("../", import.meta.url).href;
const ROOT = decodeURIComponent(new URL(ROOT_URL).pathname);
const WINGS = ["hook", "image", "vitals", "container"];
const GLOBALS_REGEXP =
  /\bDeno\s*\.\s*(?:exit|exitCode|env|args|addSignalListener|removeSignalListener)\b|\bprocess\s*\.\s*(?:exit|exitCode|env|argv|on)\b/;
const COMMENT_LINE_REGEXP = /^\s*(?:\/\/|\/?\*)/;

/** Paths relative to the root. */
type Edge = readonly [from: string, to: string];

/** "main", "cmd", "host", a wing's name, "lib" (directly in it), or undefined for what is none of davit. */
function placeOf(path: string): string | undefined {
  if (path === "main.ts") return "main";
  if (/^cmd\/[^/]+$/.test(path)) return "cmd";
  // lib/version.ts reads deno.json: data, which knows nobody.
  if (/^lib\/[^/]+$/.test(path) || path === "deno.json") return "lib";
  return [...WINGS, "host"].find((name) => path.startsWith(`lib/${name}/`));
}

function mayImport(from: string, to: string): boolean {
  if (from === "main") return to !== "main";
  if (from === "cmd") return to !== "main";
  return to === from || to === "host" || to === "lib";
}

function faultOf([from, to]: Edge): string | undefined {
  const [fromPlace, toPlace] = [placeOf(from), placeOf(to)];
  if (fromPlace === undefined) return `${from} is in no layer`;
  if (toPlace === undefined || to.endsWith("_test.ts")) return `${from} -> ${to}: not a part of davit`;
  return mayImport(fromPlace, toPlace)
    ? undefined
    : `${from} -> ${to}: ${fromPlace} must not know ${toPlace}`;
}

/** The first circle found, as "a -> b -> a", or undefined. */
function findCycle(edges: readonly Edge[]): string | undefined {
  const targets = Map.groupBy(edges, ([from]) => from);
  const done = new Set<string>();
  function visit(path: string, trail: readonly string[]): string | undefined {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path].join(" -> ");
    if (done.has(path)) return undefined;
    for (const [, to] of targets.get(path) ?? []) {
      const cycle = visit(to, [...trail, path]);
      if (cycle !== undefined) return cycle;
    }
    done.add(path);
    return undefined;
  }
  return [...targets.keys()].map((path) => visit(path, [])).find((cycle) => cycle !== undefined);
}

function globalsIn(text: string): number[] {
  return text.split("\n").flatMap((line, index) =>
    GLOBALS_REGEXP.test(line) && !COMMENT_LINE_REGEXP.test(line) ? [index + 1] : []
  );
}

async function findSources(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(ROOT + folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) found.push(...await findSources(path));
    else if (/\.[mc]?[jt]sx?$/.test(name) && !name.endsWith("_test.ts")) found.push(path);
  }
  return found;
}

interface Dependency {
  readonly code?: { readonly specifier?: string };
  readonly type?: { readonly specifier?: string };
}

/** Every import between davit's own files, types and lazy ones included; also of files that main never reaches. */
async function readEdges(sources: readonly string[]): Promise<Edge[]> {
  await using dir = await tempDir("layers");
  const all = dir.join("all.ts");
  await Deno.writeTextFile(all, sources.map((path) => `import "${ROOT_URL}${path}";\n`).join(""));
  const { code, stdout, stderr } = await run([Deno.execPath(), "info", "--json", all], { cwd: ROOT });
  assert.equal(code, 0, stderr);
  const { modules } = JSON.parse(stdout) as { modules: { specifier: string; dependencies?: Dependency[] }[] };
  return modules.filter(({ specifier }) => specifier.startsWith(ROOT_URL)).flatMap((
    { specifier, dependencies = [] },
  ) =>
    dependencies.flatMap(({ code, type }) => [code?.specifier, type?.specifier])
      .filter((to) => to?.startsWith("file:"))
      .map((to) => [specifier, to!].map((url) => url.startsWith(ROOT_URL) ? url.slice(ROOT_URL.length) : url))
  ) as unknown as Edge[];
}

const sources = ["main.ts", ...await findSources("cmd"), ...await findSources("lib")];

Deno.test("no import points upward or across, or out of davit", async (t) => {
  const edges = await readEdges(sources);
  assert.ok(
    edges.some(([from, to]) => from === "main.ts" && to === "cmd/mod.ts"),
    "main.ts was not looked at",
  );
  await t.step(
    "layers",
    () => assert.deepEqual(edges.map(faultOf).filter((fault) => fault !== undefined), []),
  );
  await t.step("circles", () => assert.equal(findCycle(edges), undefined));
});

Deno.test("no file below main.ts uses arguments, environment, signals or exit of the process", async () => {
  const found: string[] = [];
  for (const path of sources.filter((source) => source !== "main.ts")) {
    found.push(...globalsIn(await Deno.readTextFile(ROOT + path)).map((line) => `${path}:${line}`));
  }
  assert.deepEqual(found, []);
});

Deno.test("the layer rules tell good from bad", async (t) => {
  for (
    const [from, to, isFine] of [
      ["main.ts", "cmd/mod.ts", true],
      ["cmd/mod.ts", "lib/image/import.ts", true],
      ["lib/image/import.ts", "lib/host/flock.ts", true],
      ["lib/image/import.ts", "lib/failure.ts", true],
      ["lib/config_file.ts", "lib/host/errno.ts", true],
      ["cmd/mod.ts", "main.ts", false],
      ["lib/image/import.ts", "cmd/mod.ts", false],
      ["lib/settings.ts", "cmd/mod.ts", false],
      ["lib/settings.ts", "lib/image/reference.ts", false],
      ["lib/image/import.ts", "lib/vitals/loop.ts", false],
      ["lib/host/flock.ts", "lib/image/import.ts", false],
      ["lib/host/flock.ts", "main.ts", false],
      ["lib/image/import.ts", "testdata/run.ts", false],
      ["lib/image/import.ts", "lib/image/import_test.ts", false],
      ["lib/elsewhere/import.ts", "lib/failure.ts", false],
    ] as const
  ) await t.step(`${from} -> ${to}`, () => assert.equal(faultOf([from, to]) === undefined, isFine));

  await t.step("circles", () => {
    assert.equal(findCycle([["a", "b"], ["b", "c"], ["a", "c"]]), undefined);
    assert.equal(findCycle([["x", "a"], ["a", "b"], ["b", "c"], ["c", "a"]]), "a -> b -> c -> a");
  });
  await t.step("globals", () => {
    const text =
      "Deno.env.get()\n// Deno.exit\n * Deno.args\nprocess.exit(1)\nDeno.envy\nprocess.status\n Deno\t.args";
    assert.deepEqual(globalsIn(text), [1, 4, 7]);
  });
});
