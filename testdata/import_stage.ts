/**
 * The stage of an import test: a real registry with a real image in it, a directory that plays the shared
 * filesystem, a layer cache, and what the image should look like according to umoci.
 *
 * @module
 */
import { type LiveProcess, run, type RunOptions, startDavit } from "./run.ts";
import { makeSampleImage, must, type RealRegistry, startRegistry } from "./real_registry.ts";
import { type TempDir, tempDir } from "./temp.ts";

/** What an import test works with. */
export interface Stage extends AsyncDisposable {
  readonly dir: TempDir;
  readonly registry: RealRegistry;
  /** "docker://127.0.0.1:PORT/sample:1". */
  readonly uri: string;
  /** Plays the shared filesystem. */
  readonly shared: string;
  /** `SHARED/image.sqsh`. */
  readonly output: string;
  readonly cache: string;
  /** Listing of what `umoci unpack` makes of the image. */
  readonly expected: string;
  /** The arguments of an import of the image. */
  args(...more: string[]): string[];
  /** Runs davit with these arguments, or the usual ones. */
  start(args?: readonly string[], options?: RunOptions): LiveProcess;
}

/** Programs a stage needs. */
export const STAGE_PROGRAMS = ["docker-registry", "skopeo", "umoci", "sqfstar", "unsquashfs", "/bin/busybox"];

/** Sets the stage. */
export async function setStage(randomBytes?: number): Promise<Stage> {
  const dir = await tempDir("import");
  const registry = await startRegistry();
  const layout = await makeSampleImage(dir, randomBytes);
  await registry.push(layout, "1", "sample:1");
  await must(["umoci", "unpack", "--image", `${layout}:1`, dir.join("bundle")]);
  const expected = await listTree(dir.join("bundle", "rootfs"));
  const shared = dir.join("shared");
  await Deno.mkdir(shared);
  const uri = `docker://${registry.host}/sample:1`;
  const output = `${shared}/image.sqsh`;
  const cache = dir.join("cache");
  const args = (...more: string[]) => [
    ...["image", "import", uri, "--output", output, "--cache-dir", cache, "--allow-http", registry.host],
    ...more,
  ];
  return {
    dir,
    registry,
    uri,
    shared,
    output,
    cache,
    expected,
    args,
    start: (given = args(), options = {}) => startDavit(given, { timeoutMs: 120_000, ...options }),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

/** What an import writes or leaves out by design; everything else must be as umoci has it. */
const OWN_REGEXP = /^(?:etc\/(?:rc|rc\.local|environment|fstab)|work|work\/dir|etc|dev\/.*)?$/;

/** One line per file: type, mode, owner, time, links, target, hash; sorted; without what an import itself writes. */
export async function listTree(root: string): Promise<string> {
  const files = await must(["find", root, "-printf", "%P\\t%y %m %U:%G %n %l %Ts %s\\n"]);
  const hashes = await must(["sh", "-c", 'cd "$0" && find . -type f -print0 | xargs -0 -r sha256sum', root]);
  const byName = new Map(hashes.split("\n").map((line) => [line.slice(68), line.slice(0, 64)]));
  return files.trimEnd().split("\n").map((line) => line.split("\t") as [string, string])
    .filter(([name]) => !OWN_REGEXP.test(name))
    // The size of a directory is the filesystem's affair.
    .map(([name, facts]) => `${name} ${facts.replace(/^(d.*) \d+$/, "$1")} ${byName.get(name) ?? ""}`)
    .sort().join("\n");
}

/** Unpacks an image and lists it. */
export async function listImage(path: string): Promise<string> {
  await using dir = await tempDir("unsquash");
  await must(["unsquashfs", "-no-progress", "-quiet", "-d", dir.join("root"), path]);
  return await listTree(dir.join("root"));
}

/** Names in a directory, sorted. */
export async function namesIn(directory: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => name).sort();
}

/** A reader that unpacks `path` again and again until stopped; gives what went wrong and how often it read. */
export function startReader(
  path: string,
  expected: string,
): { stop(): Promise<{ faults: string[]; reads: number }> } {
  const faults: string[] = [];
  let reads = 0;
  let isStopped = false;
  const loop = (async () => {
    while (!isStopped) {
      if ((await run(["test", "-e", path])).code !== 0) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        continue;
      }
      try {
        const seen = await listImage(path);
        if (seen !== expected) faults.push("the tree differs");
        reads++;
      } catch (error) {
        faults.push(String(error));
      }
    }
  })();
  return {
    async stop() {
      isStopped = true;
      await loop;
      return { faults, reads };
    },
  };
}
