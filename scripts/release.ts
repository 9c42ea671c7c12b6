/**
 * `deno task release`: all that a release has, in dist: the files for each architecture, install.sh, the bill
 * of materials and SHA256SUMS. What is not committed is no release, and two of one commit are equal bytes.
 *
 * @module
 */
import { Command, Option } from "@commander-js/extra-typings";
import { Failure, messageOf } from "../lib/failure.ts";
import { compile, type Compiled, type CompileOptions } from "./compile.ts";
import { say, succeed } from "./compile/commands.ts";
import { type Architecture, hostArchitecture } from "./compile/target.ts";
import { BEST_LEVEL, sha256Hex } from "./pack.ts";
import { ensurePackages } from "./packages.ts";
import { readNpmPackages } from "./release/npm_packages.ts";
import { type Artefact, makeSbom } from "./sbom.ts";

/** How {@linkcode release} works. */
export interface ReleaseOptions {
  /** The checkout. */
  readonly root: string;
  readonly outDir: string;
  readonly targets: readonly Architecture[];
  readonly allowDirty?: boolean;
  /** zstd's. */
  readonly level?: number;
  /** SOURCE_DATE_EPOCH, seconds; without it the time of the commit. */
  readonly epoch?: number | undefined;
  readonly compile?: (options: CompileOptions) => Promise<Compiled>;
}

/** One file of the release. */
export interface Released {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

interface Source {
  readonly commit: string | undefined;
  readonly epoch: number;
  readonly changes: readonly string[];
}

const ROOT = decodeURIComponent(new URL("../", import.meta.url).pathname);
const ARCHITECTURES = ["x86_64", "aarch64"] as const;
const OURS = /^davit-.+(?:-linux|-linux-portable|\.spdx\.json)$/;
const SUMS = "SHA256SUMS";

/**
 * Makes a release in `outDir`. It is built in a directory inside, and moved when all of it is there;
 * SHA256SUMS goes first and comes last, so that nobody installs from a mixture.
 *
 * @throws {Failure} REFUSED when the checkout has changes that are not committed, or changes meanwhile.
 */
export async function release(options: ReleaseOptions): Promise<Released[]> {
  const { root, outDir, targets, allowDirty = false, level = BEST_LEVEL, compile: build = compile } = options;
  const source = await readSource(root, options.epoch);
  if (source.changes.length > 0) {
    if (!allowDirty) throw dirty(root, source.changes);
    say(`not a release of commit ${source.commit}: ${source.changes.length} changes are not committed`);
  }
  const { version, license } = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
  await Deno.mkdir(outDir, { recursive: true });
  const stage = await Deno.makeTempDir({ dir: outDir, prefix: ".release-" });
  try {
    const artefacts: Artefact[] = [];
    for (const arch of targets) {
      const { files, packed } = await build({ arch, outDir: stage, level });
      for (const { path, kind } of files) {
        const name = path.slice(path.lastIndexOf("/") + 1);
        artefacts.push({ name, arch, kind, packed, sha256: await sha256Hex(await Deno.readFile(path)) });
      }
    }
    const npm = await readNpmPackages(root);
    const isDirty = source.changes.length > 0;
    const sbom = await makeSbom({ ...source, version, license, isDirty, artefacts, npm });
    await Deno.writeTextFile(`${stage}/davit-${version}.spdx.json`, `${JSON.stringify(sbom, null, 2)}\n`);
    await Deno.copyFile(`${root}/scripts/install.sh`, `${stage}/install.sh`);

    const released = await writeSums(stage);
    const now = await readSource(root, options.epoch);
    if (!allowDirty && (now.commit !== source.commit || now.changes.length > 0)) {
      throw dirty(root, now.changes, "while it was built");
    }
    await publish(stage, outDir);
    return released;
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

/** A checkout without git, as from an archive, has neither commit nor time; it is taken as it is. */
async function readSource(root: string, epoch: number | undefined): Promise<Source> {
  const hasGit = await Deno.lstat(`${root}/.git`).then(() => true, (error) => {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  });
  if (!hasGit) {
    if (epoch === undefined) say("no git and no SOURCE_DATE_EPOCH: the bill of materials is dated 1970");
    return { commit: undefined, epoch: epoch ?? 0, changes: [] };
  }
  const git = (...args: string[]) => succeed(["git", "-C", root, ...args]);
  const [commit = "", seconds = ""] = (await git("log", "-1", "--format=%H %ct")).trim().split(" ");
  const status = await git("status", "--porcelain", "--untracked-files=normal");
  const changes = status.split("\n").filter(Boolean);
  return { commit, epoch: epoch ?? Number(seconds), changes };
}

function dirty(root: string, changes: readonly string[], when = "now"): Failure {
  const shown = changes.slice(0, 3).map((line) => line.slice(3)).join(", ");
  const what = changes.length === 0 ? "another commit" : `${changes.length} uncommitted changes (${shown})`;
  return new Failure("REFUSED", `Cannot release "${root}": ${what} ${when}, a clean checkout was wanted`, {
    code: "dirty_checkout",
    hint: "commit them, or --allow-dirty for files that are no release",
  });
}

/** Of the whole directory, sorted by name; links are another name of what is listed. */
async function writeSums(directory: string): Promise<Released[]> {
  const entries = (await Array.fromAsync(Deno.readDir(directory))).filter(({ isFile }) => isFile);
  const released: Released[] = [];
  for (const name of entries.map((entry) => entry.name).sort()) {
    const bytes = await Deno.readFile(`${directory}/${name}`);
    released.push({ name, sizeBytes: bytes.length, sha256: await sha256Hex(bytes) });
  }
  const lines = released.map(({ name, sha256 }) => `${sha256}  ${name}\n`);
  await Deno.writeTextFile(`${directory}/${SUMS}`, lines.join(""));
  // Whoever serves the directory is not who built it, whatever the umask was.
  for (const { name } of [...released, { name: SUMS }]) {
    await Deno.chmod(`${directory}/${name}`, name.endsWith(".json") || name === SUMS ? 0o644 : 0o755);
  }
  return released;
}

async function publish(stage: string, outDir: string): Promise<void> {
  const names = (await Array.fromAsync(Deno.readDir(stage))).map(({ name }) => name);
  const old = (await Array.fromAsync(Deno.readDir(outDir))).map(({ name }) => name);
  for (const name of old.filter((each) => each === SUMS || OURS.test(each) && !names.includes(each))) {
    await Deno.remove(`${outDir}/${name}`);
  }
  for (const name of [...names.filter((each) => each !== SUMS), SUMS]) {
    await Deno.rename(`${stage}/${name}`, `${outDir}/${name}`);
  }
}

/** What was made, for people. */
export function table(released: readonly Released[]): string {
  const nameWidth = Math.max(...released.map(({ name }) => name.length));
  const sizeWidth = Math.max(...released.map(({ sizeBytes }) => String(sizeBytes).length));
  return released.map(({ name, sizeBytes, sha256 }) =>
    `${name.padEnd(nameWidth)}  ${String(sizeBytes).padStart(sizeWidth)}  ${sha256}\n`
  ).join("");
}

/** SOURCE_DATE_EPOCH, which reproducible-builds.org describes. */
function readEpoch(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new Failure("CONFIG", `Cannot use SOURCE_DATE_EPOCH="${text}": seconds since 1970 were wanted`, {
    code: "bad_epoch",
  });
}

async function main(): Promise<void> {
  const command = new Command("release")
    .addOption(
      new Option("--target <arch...>", "the architectures to build for").choices(ARCHITECTURES)
        .default([...ARCHITECTURES]),
    )
    .option("--level <number>", "zstd's level, 1 to 19", Number, BEST_LEVEL)
    .option("--out <dir>", "where to put the files", `${ROOT}dist`)
    .option("--allow-dirty", "build although changes are not committed", false)
    .parse(Deno.args, { from: "user" });
  const { target: targets, level, out: outDir, allowDirty } = command.opts();
  const epoch = readEpoch(Deno.env.get("SOURCE_DATE_EPOCH"));
  await ensurePackages("build");
  if (targets.some((arch) => arch !== hostArchitecture())) await ensurePackages("cross");
  const released = await release({ root: ROOT, outDir, targets, level, allowDirty, epoch });
  await Deno.stdout.write(new TextEncoder().encode(table(released)));
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(messageOf(error));
    if (error.hint !== undefined) say(`hint: ${error.hint}`);
    Deno.exit(error.exitStatus);
  }
}
