/**
 * Merges a stack of layers twice, by umoci and by davit with sqfstar, and compares what comes out.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Activity } from "../lib/host/activity.ts";
import { silent } from "../lib/host/log.ts";
import { type ImagePlan, indexLayers } from "../lib/image/merge.ts";
import { buildSquashfs, type Compression } from "../lib/image/sqfstar.ts";
import type { ImageConfig } from "../lib/image/types.ts";
import { makeTar, type TarItem } from "./make_tar.ts";
import { writeLayout } from "./oci_layout.ts";
import { randomLayers } from "./random_layers.ts";
import { run as runProgram } from "./run.ts";
import { snapshot } from "./tree_snapshot.ts";

/** A configuration without anything in it. */
export const PLAIN_CONFIG: ImageConfig = {
  os: "linux",
  architecture: "amd64",
  env: [],
  entrypoint: [],
  cmd: [],
  workingDir: "",
  labels: {},
  volumes: [],
};

/** Programs that the tests run are looked for here. */
export const SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/** Runs a program to its end; throws with what it said unless it exits 0. */
export async function run(...argv: [string, ...string[]]): Promise<string> {
  const { code, stdout, stderr } = await runProgram(argv);
  if (code !== 0) throw new Error(`${argv[0]} exited ${code}: ${stdout}${stderr}`);
  return stdout;
}

/** Indexes layer files with nothing special about them. */
export async function plan(
  layers: readonly { digest: string; path: string }[],
  options: Partial<Parameters<typeof indexLayers>[1]> = {},
): Promise<ImagePlan> {
  return await indexLayers(layers, {
    config: PLAIN_CONFIG,
    provenance: "docker://registry/image@sha256:0",
    maxUnpackedBytes: 2 ** 34,
    activity: new Activity(),
    signal: new AbortController().signal,
    log: silent,
    ...options,
  });
}

/** Builds `plan` as `output`. */
export async function build(
  image: ImagePlan,
  output: string,
  options: { compression?: Compression; signal?: AbortSignal; path?: string } = {},
): Promise<void> {
  await buildSquashfs(image, {
    output,
    compression: "lz4",
    mkfsTimeSeconds: 0,
    memBytes: 64 << 20,
    path: SEARCH_PATH,
    activity: new Activity(),
    signal: new AbortController().signal,
    log: silent,
    ...options,
  });
}

/** What davit adds to every image. The random layers leave /etc alone. */
const ADDED = ["etc", "etc/rc", "etc/rc.local", "etc/environment", "etc/fstab"];

/** Compares both merges of `layers` in the empty directory `directory`; throws an AssertionError with the difference. */
export async function compareWithUmoci(directory: string, layers: readonly TarItem[][]): Promise<void> {
  // Directories that no layer describes get the present time from umoci and that of the image from us.
  const startedSeconds = Math.floor(Date.now() / 1000) - 1;
  const base: TarItem[] = [
    { name: "./", type: "5", mode: 0o750, uid: 3, gid: 4, mtime: 12345 },
    { name: "etc/", type: "5", mode: 0o755, mtime: 5 },
    // The root's owner has to own something else too (lib/image/root_inode.ts).
    { name: "owned", uid: 3, gid: 4 },
  ];
  const stack = [base, ...layers];
  const files = await writeLayout(`${directory}/oci`, "t", {
    layers: stack.map((items) => ({ bytes: makeTar(items) })),
  });
  await run("umoci", "unpack", "--image", `${directory}/oci:t`, `${directory}/bundle`);
  await build(await plan(files), `${directory}/image.sqfs`);
  await run("unsquashfs", "-quiet", "-no-progress", "-d", `${directory}/ours`, `${directory}/image.sqfs`);
  const theirs = await snapshot(`${directory}/bundle/rootfs`);
  const ours = await snapshot(`${directory}/ours`);
  for (const entry of theirs.entries.values()) {
    if (entry.type === "d" && entry.mtime >= startedSeconds && entry.mtime < 3_900_000_000) entry.mtime = 0;
  }
  for (const { entries } of [theirs, ours]) for (const path of ADDED) entries.delete(path);
  assert.deepEqual(ours.entries, theirs.entries);
  const relevant = (xattrs: string[]) => xattrs.filter((block) => !block.startsWith("# file: etc\n"));
  assert.deepEqual(relevant(ours.xattrs), relevant(theirs.xattrs));
}

/** Compares `numRuns` random stacks; the message of a failure has the numbers that make the stack. */
export async function tryStacks(numRuns: number): Promise<void> {
  const property = fc.asyncProperty(
    fc.nat(),
    fc.integer({ min: 1, max: 5 }),
    fc.integer({ min: 1, max: 40 }),
    async (...numbers) => {
      const directory = await Deno.makeTempDir({ prefix: "davit-umoci-" });
      try {
        await compareWithUmoci(directory, randomLayers(...numbers));
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    },
  );
  await fc.assert(property, { numRuns });
}
