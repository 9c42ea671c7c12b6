/**
 * Is this file a whole squashfs image? Three answers and an absence: valid, invalid, or *cannot tell*, because a
 * failed look (EIO, ESTALE, no permission, no helper) says nothing about the file and must never cost a good one.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import { sleep } from "../host/backoff.ts";
import { messageOf } from "../failure.ts";
import { judgeSuperblock, type Superblock } from "./superblock.ts";
import { readSidecar, type Sidecar } from "./sidecar.ts";
import { walkTables } from "./unsquashfs.ts";

const TAIL_BYTES = 65_536;
const HASH_CHUNK_BYTES = 1 << 20;
/** Waits between looks that could not tell. */
const RETRY_DELAYS_MS = [100, 400, 1600];

/** What a look at a file gave. */
export type Verdict =
  | {
    readonly state: "valid";
    readonly sizeBytes: number;
    readonly superblock: Superblock;
    /** The sidecar, if it speaks of this very image. */
    readonly sidecar: Sidecar | undefined;
    readonly sha256: string | undefined;
    readonly warnings: readonly string[];
  }
  | { readonly state: "invalid"; readonly reason: string; readonly inode: number | null }
  | {
    readonly state: "unknown";
    readonly reason: string;
    /** Another look would end the same. */
    readonly isFinal?: boolean;
  }
  | { readonly state: "absent" };

/** How closely to look; each level includes the ones before it. */
export interface CheckOptions {
  /** fast: superblock, size, tail; deep: also every table; full: also the hash of every byte. */
  readonly level: "fast" | "deep" | "full";
  /** Wanted hash of the file; without it `full` uses the sidecar's. */
  readonly sha256?: string | undefined;
  readonly signal: AbortSignal;
  /** Told of each megabyte hashed. */
  readonly onBytes?: (bytes: number) => void;
}

/** Looks at `path`, again after a wait while it cannot tell. */
export async function checkImage(path: string, options: CheckOptions): Promise<Verdict> {
  for (const delayMs of RETRY_DELAYS_MS) {
    const verdict = await look(path, options);
    if (verdict.state !== "unknown" || verdict.isFinal) return verdict;
    await sleep(delayMs, options.signal);
  }
  return await look(path, options);
}

async function look(path: string, options: CheckOptions): Promise<Verdict> {
  options.signal.throwIfAborted();
  try {
    using file = await openRegular(path);
    return await judge(path, file, options);
  } catch (error) {
    options.signal.throwIfAborted();
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ENOTDIR") return { state: "absent" };
    if (error instanceof NotRegular) return { state: "invalid", reason: error.message, inode: null };
    if (errno === undefined) throw error;
    return { state: "unknown", reason: `${errno}: ${messageOf(error)}` };
  }
}

class NotRegular extends Error {}

/** Opening a FIFO or a device could wait for ever, hence the look before. */
async function openRegular(path: string): Promise<Deno.FsFile> {
  const { isFile, isDirectory } = await Deno.stat(path);
  if (!isFile) throw new NotRegular(`it is ${isDirectory ? "a directory" : "not a regular file"}`);
  return await Deno.open(path);
}

async function judge(path: string, file: Deno.FsFile, options: CheckOptions): Promise<Verdict> {
  const { size, ino: inode } = await file.stat();
  const invalid = (reason: string): Verdict => ({ state: "invalid", reason, inode });
  const judged = await judgeSuperblock((offset, length) => readAt(file, offset, length), size);
  if (!judged.ok) return invalid(judged.reason);
  const { superblock, warnings } = judged;

  const found = await readSidecar(path);
  const sidecar = found?.superblock === superblock.hex ? found : undefined;
  if (sidecar !== undefined) {
    if (sidecar.size !== size) return invalid(`it has ${size} bytes, ${sidecar.size} were published`);
    if (sidecar.tail_sha256 !== await tailHash(file, size)) {
      return invalid("its end is not what was published");
    }
  }
  if (options.level !== "fast") {
    const walked = await walkTables(path, options.signal);
    if (walked.state !== "valid") return walked.state === "invalid" ? invalid(walked.reason) : walked;
  }
  let sha256: string | undefined;
  if (options.level === "full" || options.sha256 !== undefined) {
    const wanted = options.sha256 ?? sidecar?.sha256;
    if (wanted === undefined) {
      return {
        state: "unknown",
        reason: "nothing says what its SHA-256 should be: no sidecar with one beside it",
      };
    }
    sha256 = await hashFile(file, options);
    if (sha256 !== wanted) return invalid(`its SHA-256 is ${sha256}, wanted ${wanted}`);
  }
  return { state: "valid", sizeBytes: size, superblock, sidecar, sha256, warnings };
}

async function readAt(file: Deno.FsFile, offset: number, length: number): Promise<Uint8Array> {
  await file.seek(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const count = await file.read(bytes.subarray(filled));
    if (count === null) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}

/** SHA-256 of the last 64 KiB of an open file, hexadecimal. */
export async function tailHash(file: Deno.FsFile, size: number): Promise<string> {
  const start = Math.max(0, size - TAIL_BYTES);
  const tail = await readAt(file, start, size - start);
  // crypto.subtle, as importing node:crypto costs 40 ms of a hit's start-up.
  const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(tail));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** SHA-256 of a whole open file, hexadecimal. */
export async function hashFile(
  file: Deno.FsFile,
  { signal, onBytes }: { signal: AbortSignal; onBytes?: (bytes: number) => void },
): Promise<string> {
  const { createHash } = await import("node:crypto");
  const hash = createHash("sha256");
  const chunk = new Uint8Array(HASH_CHUNK_BYTES);
  await file.seek(0, Deno.SeekMode.Start);
  for (;;) {
    signal.throwIfAborted();
    const count = await file.read(chunk);
    if (count === null) return hash.digest("hex");
    hash.update(chunk.subarray(0, count));
    onBytes?.(count);
  }
}
