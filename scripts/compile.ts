/**
 * `deno task compile`: makes davit one file. `dist/davit-<arch>-linux` is what `deno compile` makes where its
 * runtime can be had; `dist/davit-<arch>-linux-portable` runs on any Linux of the architecture, whatever its
 * C library; `dist/davit` is a link to the best one for this machine. The portable file carries the deno
 * executable and the bundle, also where a compiled file could be made: that one looks for its program in its
 * own executable, which behind our loader is the loader.
 *
 * @module
 */
import { Command, Option } from "@commander-js/extra-typings";
import { VERSION } from "../lib/version.ts";
import { say, succeed } from "./compile/commands.ts";
import { neededLibraries } from "./compile/elf.ts";
import { type Architecture, armTarget, hostArchitecture, hostTarget, type Target } from "./compile/target.ts";
import { BEST_LEVEL, pack, type Part, sha256Hex } from "./pack.ts";
import { ensurePackages } from "./packages.ts";

/** How {@linkcode compile} works. */
export interface CompileOptions {
  readonly arch: Architecture;
  readonly outDir: string;
  /** zstd's; lower is faster and larger. */
  readonly level?: number;
  /** Whether `deno compile` may download its runtime where DENORT_BIN names none. */
  readonly download?: boolean;
}

/** One piece of the portable file, for the bill of materials. */
export interface PackedPart {
  readonly name: string;
  /** "davit", "deno", or the Debian package. */
  readonly origin: string;
  readonly version: string;
  /** Of the file's bytes before packing or linking. */
  readonly sha256: string;
}

/** What was made. */
export interface Compiled {
  readonly arch: Architecture;
  readonly files: readonly { readonly path: string; readonly kind: "compiled" | "portable" }[];
  readonly packed: readonly PackedPart[];
}

const ROOT = decodeURIComponent(new URL("../", import.meta.url).pathname);
/** glibc loads it by name when a thread ends itself, as those of the tools do; no file says so. */
const UNWINDER = "libgcc_s.so.1";
const PRELOAD = "/etc/ld.so.preload";
/** As long as that, and never there: below something that is no directory. */
const NO_PRELOAD = "/dev/null/.preload";

/** Builds the files for one architecture. */
export async function compile(options: CompileOptions): Promise<Compiled> {
  const { arch, outDir, level = BEST_LEVEL, download = true } = options;
  const workDir = await Deno.makeTempDir({ prefix: "davit-compile-" });
  try {
    await Deno.mkdir(outDir, { recursive: true });
    const isHost = arch === hostArchitecture();
    const bundle = `${workDir}/main.js`;
    await succeed([
      Deno.execPath(),
      "bundle",
      "--quiet",
      "--platform",
      "deno",
      "-o",
      bundle,
      `${ROOT}main.ts`,
    ], { cwd: ROOT }); // Deno looks for deno.json from there
    const compiled = isHost
      ? await compileWithRuntime(`${outDir}/davit-${arch}-linux`, workDir, download)
      : undefined;
    const target = isHost ? hostTarget() : await armTarget(workDir);
    const portable = `${outDir}/davit-${arch}-linux-portable`;
    const packed = await makePortable(target, { bundle, portable, level, workDir });
    if (isHost) await linkBest(outDir, compiled ?? portable);
    return {
      arch,
      files: [
        ...compiled === undefined ? [] : [{ path: compiled, kind: "compiled" as const }],
        { path: portable, kind: "portable" },
      ],
      packed,
    };
  } finally {
    await Deno.remove(workDir, { recursive: true });
  }
}

/** Gives undefined, and says why, where `deno compile` has no runtime, or what it makes is not davit. */
async function compileWithRuntime(
  output: string,
  workDir: string,
  download: boolean,
): Promise<string | undefined> {
  const runtime = Deno.env.get("DENORT_BIN");
  if (runtime === undefined && !download) return undefined;
  const made = `${workDir}/compiled`;
  try {
    await succeed([
      Deno.execPath(),
      "compile",
      "--quiet",
      "--no-check", // as for the bundle: `deno task ok` checks
      "-A",
      "--no-prompt",
      "--output",
      made,
      `${ROOT}main.ts`,
    ], { cwd: ROOT });
  } catch (error) {
    const reason = /error: (.+)/.exec((error as Error).message)?.[1] ?? (error as Error).message;
    say(`no compiled file: ${reason.trim()}`);
    return undefined;
  }
  const { stdout } = await new Deno.Command(made, { args: ["--version"], stderr: "null" }).output();
  const said = new TextDecoder().decode(stdout).split("\n")[0]!;
  if (said !== `davit ${VERSION}`) {
    const { size } = await Deno.stat(made);
    say(
      `no compiled file: davit is embedded (${size} bytes), but DENORT_BIN is not denort: it says "${said}"`,
    );
    return undefined;
  }
  await publish(made, output);
  return output;
}

async function makePortable(
  target: Target,
  { bundle, portable, level, workDir }: { bundle: string; portable: string; level: number; workDir: string },
): Promise<PackedPart[]> {
  const launcher = `${workDir}/launcher`;
  await compileLauncher(target, launcher);
  const tools = Object.entries(target.tools);
  const forRuntime = await neededLibraries([target.deno], target.libraryDirs);
  const forTools = await neededLibraries(tools.map(([, path]) => path), target.libraryDirs);
  const loader = `${workDir}/loader`;
  await writeLoader(target.loader, loader);

  const libraries = new Map([...forRuntime, ...forTools].sort(([a], [b]) => a < b ? -1 : 1));
  const parts: Part[] = [
    { name: "davit", path: loader, use: "b" },
    { name: "main.js", path: bundle, use: "r" },
    ...[...libraries].map(([name, path]): Part => ({
      name,
      path,
      use: !forTools.has(name) && name !== UNWINDER ? "r" : forRuntime.has(name) ? "b" : "t",
    })),
    ...tools.map(([name, path]): Part => ({ name, path, use: "t" })),
    // The largest last: damage to another is then found at once.
    { name: "runtime", path: target.deno, use: "r" },
  ];
  const made = `${workDir}/portable`;
  await pack(launcher, parts, { output: made, level, workDir });
  await publish(made, portable);

  const linked = target.archives.map((path) => ({ name: path.slice(path.lastIndexOf("/") + 1), path }));
  return await Promise.all([...parts, ...linked].map(async ({ name, path }) => ({
    name,
    ...await originOf(name, name === "davit" ? target.loader : path, target),
    sha256: await sha256Hex(await Deno.readFile(path)),
  })));
}

async function originOf(
  name: string,
  path: string,
  target: Target,
): Promise<{ origin: string; version: string }> {
  if (name === "runtime") return { origin: "deno", version: target.denoVersion };
  if (name === "main.js") return { origin: "davit", version: VERSION };
  const { name: origin, version } = await target.packageOf(path);
  return { origin, version };
}

async function compileLauncher({ cc, libraries }: Target, output: string): Promise<void> {
  const flags = [
    "-std=gnu11",
    "-O2",
    "-static",
    "-s",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-format-truncation",
  ];
  await succeed([...cc, ...flags, "-Wl,--build-id=none", "-o", output, "launcher.c", ...libraries], {
    cwd: `${ROOT}scripts`,
  });
}

/** glibc's loader loads what /etc/ld.so.preload names: libraries of the host, for its glibc and not ours. */
async function writeLoader(from: string, to: string): Promise<void> {
  const bytes = await Deno.readFile(from);
  const wanted = new TextEncoder().encode(PRELOAD);
  const places = bytes.keys().filter((at) => wanted.every((byte, index) => bytes[at + index] === byte))
    .toArray();
  if (places.length !== 1) throw new Error(`Cannot pack "${from}": it should name "${PRELOAD}" once`);
  bytes.set(new TextEncoder().encode(NO_PRELOAD), places[0]);
  await Deno.writeFile(to, bytes);
}

/** A davit that runs from the old file keeps it. */
async function publish(made: string, output: string): Promise<void> {
  const temporary = `${output}.new`;
  await Deno.copyFile(made, temporary);
  await Deno.chmod(temporary, 0o755);
  await Deno.rename(temporary, output);
}

async function linkBest(outDir: string, best: string): Promise<void> {
  const link = `${outDir}/davit`;
  await Deno.remove(link).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await Deno.symlink(best.slice(best.lastIndexOf("/") + 1), link);
}

if (import.meta.main) {
  const command = new Command("compile")
    .addOption(
      new Option("--target <arch>", "the architecture to build for").choices(["x86_64", "aarch64"] as const),
    )
    .option("--level <number>", "zstd's level, 1 to 19", Number, BEST_LEVEL)
    .option("--out <dir>", "where to put the files", `${ROOT}dist`)
    .option("--no-download", "do not let `deno compile` download its runtime")
    .parse(Deno.args, { from: "user" });
  const { target = hostArchitecture(), level, out, download } = command.opts();
  await ensurePackages("build");
  if (target !== hostArchitecture()) await ensurePackages("cross");
  const startedMs = performance.now();
  const { files } = await compile({ arch: target, outDir: out, level, download });
  for (const { path } of files) say(`${path}: ${(await Deno.stat(path)).size} bytes`);
  say(`done in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
}
