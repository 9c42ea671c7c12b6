/**
 * The portable file of this tree, for tests: built once a run of scripts/test.ts, where TMPDIR is the run's own, else
 * once a test file. Packed at zstd's level 3: 2.5 s instead of a minute, and the same in every other respect.
 *
 * @module
 */
import { compile } from "../scripts/compile.ts";
import { MARK_VARIABLE } from "../scripts/leftovers.ts";
import { hostArchitecture } from "../scripts/compile/target.ts";

/** The Debian programs that building it needs; for needs(). */
export const BUILD_PROGRAMS = ["cc", "zstd", "readelf", "sqfstar", "unsquashfs", "dpkg"] as const;

let built: Promise<string> | undefined;

/** The path of the portable file; executable by everybody, to be copied and not to be changed. */
export function portableFile(): Promise<string> {
  return built ??= build();
}

async function build(): Promise<string> {
  const arch = hostArchitecture();
  const isRun = Deno.env.get(MARK_VARIABLE) !== undefined;
  const shared = isRun ? `${Deno.env.get("TMPDIR")}/davit-portable` : undefined;
  const finished = `${shared}/davit-${arch}-linux-portable`;
  if (shared !== undefined && await exists(finished)) return finished;
  const outDir = await Deno.makeTempDir({ prefix: "davit-portable-" });
  await Deno.chmod(outDir, 0o755);
  if (shared === undefined) addEventListener("unload", () => Deno.removeSync(outDir, { recursive: true }));
  await compile({ arch, outDir, level: 3, download: false });
  if (shared === undefined) return `${outDir}/davit-${arch}-linux-portable`;
  try {
    await Deno.rename(outDir, shared);
  } catch (error) {
    if (!await exists(finished)) throw error;
    await Deno.remove(outDir, { recursive: true }); // another test file that runs in parallel was faster
  }
  return finished;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
