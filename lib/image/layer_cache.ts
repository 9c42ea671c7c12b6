/**
 * Layers by digest in `CACHE/blobs/sha256/HEX`, the directory form of the OCI image layout v1.1. Any number of
 * processes share one cache: each writes a temp file of its own and renames it when size and digest are right, so
 * a name in the cache always has whole content.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import type { Activity, Bar } from "../host/activity.ts";
import { errnoOf, isNoSpace } from "../host/errno.ts";
import { createTemp, removeDeadTemps } from "../host/temp_files.ts";
import { hashFile } from "./check.ts";
import { Patience, type RetryOptions, TransientFault } from "./fault.ts";
import { LayerWriter } from "./layer_writer.ts";
import { type BlobStream, digestMismatch, type OpenBlob } from "./registry.ts";
import type { Descriptor } from "./types.ts";

/** Age after which a temp file of another host or boot counts as left behind. */
const TEMP_GRACE_MS = 86_400_000;
/** A download that moved this far since its last fault has its full patience again. */
const PROGRESS_BYTES = 8 << 20;

/** How to fetch. */
export interface FetchOptions extends RetryOptions {
  readonly open: OpenBlob;
  readonly cacheDir: string;
  /** Downloads at once. */
  readonly connections: number;
  readonly activity: Activity;
}

/** Where the cache keeps a blob. */
export function cachePath(cacheDir: string, digest: string): string {
  const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1];
  if (hex === undefined) throw new TypeError(`not a sha256 digest: ${digest}`);
  return `${cacheDir}/blobs/sha256/${hex}`;
}

/**
 * Fetches what the cache lacks and returns the path of each digest. Throws the first Failure; temp files are gone
 * then, finished layers stay.
 */
export async function fetchLayers(
  descriptors: readonly Descriptor[],
  options: FetchOptions,
): Promise<Map<string, string>> {
  const { cacheDir, connections, log } = options;
  const blobsDir = `${cacheDir}/blobs/sha256`;
  const paths = new Map<string, string>();
  const queue = uniqueOf(descriptors);
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const work = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      signal.throwIfAborted();
      paths.set(next.digest, await fetchLayer(next, { ...options, signal }));
    }
  };
  try {
    await makeCache(cacheDir);
    await removeDeadTemps(blobsDir, ".", { graceMs: TEMP_GRACE_MS, log });
    const workers = Array.from({ length: Math.max(1, connections) }, () =>
      work().catch((error) => {
        // The others' work is lost either way; only the first error is worth telling.
        if (!stop.signal.aborted) stop.abort(error);
      }));
    await Promise.all(workers);
    signal.throwIfAborted();
  } catch (error) {
    throw cacheFailure(error, cacheDir);
  }
  return paths;
}

/** Bytes that {@linkcode fetchLayers} would have to download. */
export async function missingBytes(descriptors: readonly Descriptor[], cacheDir: string): Promise<number> {
  let sum = 0;
  for (const { digest, sizeBytes } of uniqueOf(descriptors)) {
    const size = await sizeOf(cachePath(cacheDir, digest));
    if (size !== sizeBytes) sum += sizeBytes;
  }
  return sum;
}

/** Takes a layer that turned out damaged out of the cache, so that the next fetch downloads it. */
export async function discardLayer(cacheDir: string, digest: string): Promise<void> {
  try {
    await Deno.remove(cachePath(cacheDir, digest));
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw cacheFailure(error, cacheDir);
  }
}

function uniqueOf(descriptors: readonly Descriptor[]): Descriptor[] {
  return [...new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor])).values()];
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await Deno.stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/** A cache of our own is closed to others; one that is there keeps its mode, and passes it on. */
async function makeCache(cacheDir: string): Promise<void> {
  await Deno.mkdir(cacheDir, { recursive: true, mode: 0o700 });
  const mode = ((await Deno.stat(cacheDir)).mode ?? 0o700) & 0o7777;
  for (const directory of [`${cacheDir}/blobs`, `${cacheDir}/blobs/sha256`]) {
    try {
      await Deno.mkdir(directory);
      await Deno.chmod(directory, mode);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
    }
  }
}

async function fetchLayer(descriptor: Descriptor, options: FetchOptions): Promise<string> {
  const path = cachePath(options.cacheDir, descriptor.digest);
  if (await isUsable(path, descriptor, options)) return path;
  const directory = path.slice(0, path.lastIndexOf("/"));
  await using temp = await createTemp(directory, path.slice(directory.length + 1));
  await download(descriptor, new LayerWriter(temp.file), options);
  await Deno.rename(temp.path, path);
  return path;
}

/** A size that differs, or content that another user could have changed and that hashes wrongly, is removed. */
async function isUsable(
  path: string,
  { digest, sizeBytes }: Descriptor,
  { signal, log }: FetchOptions,
): Promise<boolean> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
  let reason: string | undefined;
  try {
    const { size, uid, mode } = await file.stat();
    const isOurs = (uid === Deno.uid() || uid === 0) && ((mode ?? 0) & 0o022) === 0;
    if (size !== sizeBytes) reason = `it has ${size} bytes, not ${sizeBytes}`;
    else if (!isOurs && `sha256:${await hashFile(file, { signal })}` !== digest) {
      reason = "its content has another digest";
    }
  } finally {
    file.close();
  }
  if (reason === undefined) return true;
  log.warn("removing a damaged layer from the cache", { file: path, reason });
  await Deno.remove(path);
  return false;
}

async function download(descriptor: Descriptor, writer: LayerWriter, options: FetchOptions): Promise<void> {
  const { digest, sizeBytes } = descriptor;
  const label = digest.slice("sha256:".length).slice(0, 12);
  const { open, activity, signal, log } = options;
  const bar = activity.bar(digest, label, sizeBytes);
  const patience = new Patience(`fetch layer ${label}`, options);
  let isFresh = false;
  let faultAt = 0;
  while (true) {
    try {
      if (writer.position < sizeBytes) {
        await receive(descriptor, writer, bar, () => open(descriptor, writer.position, { signal, isFresh }));
      }
      const seen = await writer.finish();
      if (seen === digest && writer.position === sizeBytes) return;
      if (isFresh) throw digestMismatch(`layer ${digest}`, seen);
      log.warn("a layer arrived with wrong content, fetching it anew", { digest, seen });
      isFresh = true;
      await writer.restart();
    } catch (error) {
      if (writer.position - faultAt >= PROGRESS_BYTES) patience.reset();
      faultAt = writer.position;
      await patience.wait(error);
      activity.attempt++;
    }
    bar.done = writer.position;
  }
}

async function receive(
  { sizeBytes }: Descriptor,
  writer: LayerWriter,
  bar: Bar,
  open: () => Promise<BlobStream>,
): Promise<void> {
  const { firstByte, chunks } = await open();
  try {
    if (firstByte !== writer.position) await writer.restart();
    for await (const chunk of chunks) {
      await writer.write(chunk);
      bar.done = Math.min(writer.position, sizeBytes);
      // Too much is told by the digest; the rest of an endless body is not wanted.
      if (writer.position > sizeBytes) break;
    }
  } finally {
    await chunks.return();
  }
  if (writer.position < sizeBytes) throw new TransientFault("the layer ended early");
}

function cacheFailure(error: unknown, cacheDir: string): unknown {
  const isFromDisk = !(error instanceof Failure) ||
    /^(no_space|cannot_create|cannot_write)$/.test(error.code);
  const errno = isFromDisk ? errnoOf(error) : undefined;
  if (errno === undefined) return error;
  const where = `the layer cache "${cacheDir}"`;
  if (isNoSpace(error)) {
    const what = errno === "EDQUOT" ? "your quota is used up" : "no space is left on its filesystem";
    return new Failure("IOERR", `Cannot write to ${where}: ${what}`, {
      code: "no_space",
      hint: "free space there, or name a roomier place with --cache-dir",
      cause: error,
    });
  }
  const isRefused = errno === "EACCES" || errno === "EPERM" || errno === "EROFS";
  return new Failure(isRefused ? "CANTCREAT" : "IOERR", `Cannot use ${where}: ${messageOf(error)}`, {
    code: isRefused ? "cannot_create" : "cannot_write",
    hint: "--cache-dir names another place",
    cause: error,
  });
}
