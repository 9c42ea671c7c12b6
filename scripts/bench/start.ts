/**
 * `deno run -A scripts/bench/start.ts [--level 19] [--rounds 40]`: what the portable file costs against `deno
 * run` of the same bundle: its start, warm and for the first time, its size, its memory. Prints a table;
 * asserts nothing.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { compile } from "../compile.ts";
import { hostArchitecture } from "../compile/target.ts";
import { succeed } from "../compile/commands.ts";
import { ensurePackages } from "../packages.ts";
import { davitEnv, run, start } from "../../testdata/run.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";

const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);
const FIRST_STARTS = 5;
const MEGABYTE = 1e6;
const AIM_RATIO = 1.1;
const AIM_DOWNLOAD_MB = 45;

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** One way to start davit. */
interface Way {
  readonly argv: readonly string[];
  readonly env: Record<string, string | undefined>;
}

async function elapsedMs({ argv, env }: Way): Promise<number> {
  const begun = performance.now();
  const { code, stderr } = await run([...argv, "--version"], { env });
  if (code !== 0) throw new Error(`${argv[0]} ended with ${code}: ${stderr}`);
  return performance.now() - begun;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Takes turns, so that what else the machine does meets all of them alike. */
async function warmStarts(ways: readonly Way[], rounds: number): Promise<number[]> {
  const times = ways.map((): number[] => []);
  for (const way of ways) await elapsedMs(way);
  for (let round = 0; round < rounds; round++) {
    for (const [index, way] of ways.entries()) times[index]!.push(await elapsedMs(way));
  }
  return times.map(median);
}

async function firstStarts(way: Way, cache: string): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < FIRST_STARTS; round++) {
    await Deno.remove(cache, { recursive: true }).catch(() => {});
    times.push(await elapsedMs(way));
  }
  return median(times);
}

/** MiB of a davit that waits for its next sample. */
async function idleMemory({ argv, env }: Way): Promise<{ anonymous: number; file: number }> {
  await using process = start([...argv, "vitals", "run", "--interval", "60"], { env });
  await process.waitFor(/kind=sample/);
  const status = await Deno.readTextFile(`/proc/${process.pid}/status`);
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1024;
  return { anonymous: of("RssAnon"), file: of("RssFile") };
}

async function unpackedMegabytes(cache: string): Promise<number> {
  let sum = 0;
  for await (const { name } of Deno.readDir(cache)) {
    for await (const part of Deno.readDir(`${cache}/${name}`)) {
      if (part.isFile) sum += (await Deno.stat(`${cache}/${name}/${part.name}`)).size;
    }
  }
  return sum / MEGABYTE;
}

async function makeWays(dir: TempDir, level: number) {
  const bundle = dir.join("main.js");
  const bundling = ["bundle", "--quiet", "--platform", "deno", "-o", bundle, `${ROOT}main.ts`];
  await succeed([Deno.execPath(), ...bundling], { cwd: ROOT });
  say(`packing at level ${level} …`);
  const arch = hostArchitecture();
  const { files } = await compile({ arch, outDir: dir.join("out"), level, download: false });
  const cache = dir.join("cache");
  const flags = [
    "run",
    "-A",
    "--no-config",
    "--no-prompt",
    "--no-lock",
    "--no-remote",
    "--no-npm",
    "--quiet",
  ];
  const env = davitEnv({ DENO_DIR: dir.join("deno") });
  const portable: Way = { argv: [files.at(-1)!.path], env: { ...env, DAVIT_CACHE: cache } };
  const bundled: Way = { argv: [await Deno.realPath(Deno.execPath()), ...flags, bundle], env };
  return { portable, bundled, cache };
}

const { values: options } = parseArgs({
  args: Deno.args,
  options: { level: { type: "string", default: "19" }, rounds: { type: "string", default: "40" } },
});
await ensurePackages("build");
await using dir = await tempDir("bench-start");
const { portable, bundled, cache } = await makeWays(dir, Number(options.level));

const first = await firstStarts(portable, cache);
const [ours, theirs] = await warmStarts([portable, bundled], Number(options.rounds));
const [ourMemory, theirMemory] = [await idleMemory(portable), await idleMemory(bundled)];
const { size } = await Deno.stat(portable.argv[0]!);
const unpacked = await unpackedMegabytes(cache);
const denoSize = (await Deno.stat(bundled.argv[0]!)).size + (await Deno.stat(dir.join("main.js"))).size;

const ratio = (a: number, b: number) => `${(a / b).toFixed(2)}x`;
const memory = (a: { anonymous: number; file: number }) =>
  `${a.anonymous.toFixed(0)} + ${a.file.toFixed(0)} MiB`;
const total = ({ anonymous, file }: { anonymous: number; file: number }) => anonymous + file;
const rows = [
  ["", "portable", "deno run", "ratio", "aim"],
  [
    "davit --version, warm",
    `${ours!.toFixed(1)} ms`,
    `${theirs!.toFixed(1)} ms`,
    ratio(ours!, theirs!),
    `${AIM_RATIO}x`,
  ],
  ["first start", `${first.toFixed(0)} ms`, "", "", ""],
  ["to download", `${(size / MEGABYTE).toFixed(1)} MB`, "", "", `${AIM_DOWNLOAD_MB} MB`],
  [
    "on disk, unpacked",
    `${unpacked.toFixed(1)} MB`,
    `${(denoSize / MEGABYTE).toFixed(1)} MB`,
    ratio(unpacked, denoSize / MEGABYTE),
    "",
  ],
  [
    "idle memory, anonymous + file",
    memory(ourMemory),
    memory(theirMemory),
    ratio(total(ourMemory), total(theirMemory)),
    "",
  ],
];
const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
for (const row of rows) say(`| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`);
say(`medians: ${options.rounds} starts by turns, ${FIRST_STARTS} first starts; zstd level ${options.level}`);
