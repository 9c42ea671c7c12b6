/**
 * Makes the image, under the lock or without one: build into a temp file beside the target, check it, get it to
 * disk, and put it in place unless somebody else was faster.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import { cannotWrite, keepAside, moveInPlace, removeKept, syncFile } from "../host/publish.ts";
import { checkSpace } from "../host/space.ts";
import { createTemp, removeDeadTemps } from "../host/temp_files.ts";
import { checkImage, hashFile, tailHash, type Verdict } from "./check.ts";
import type { Engine, FoundImage } from "./engine.ts";
import {
  cannotTell,
  type Existing,
  type Found,
  judgeExisting,
  UNKNOWN_ORIGIN,
  type Wanted,
} from "./existing.ts";
import type { ImportOptions } from "./import_options.ts";
import { type Sidecar, sidecarPath } from "./sidecar.ts";
import type { Target } from "./target.ts";

/** Beside the import's own options. */
export interface MakeOptions extends ImportOptions {
  readonly engine: { open(): Promise<Engine> };
  /** Whether we hold the lock; without it, somebody may be as far as we are. */
  readonly locked: boolean;
}

/** imported: made by us; there: it was, or became, usable without our work. */
export interface Made {
  readonly kind: "imported" | "there";
  readonly found: Found;
  /** How often the building was begun. */
  readonly attempts: number;
}

/** A checked image under its temp name. */
interface Built {
  readonly image: FoundImage;
  readonly valid: Extract<Verdict, { state: "valid" }>;
  readonly sha256: string;
  readonly tailSha256: string;
}

/**
 * A temp file that somebody tidied away under us, or a layer that went bad in the cache, costs a second try and
 * not the job.
 */
const WORTH_ANOTHER_TRY = new Set(["temp_lost", "damaged_layer"]);

/** So long the kernel may take to write an image out before those who wait call it a standstill. */
const SYNC_LIMIT_MS = 3_600_000;

/** Makes or adopts the image at `target`. */
export async function makeImage(target: Target, wanted: Wanted, options: MakeOptions): Promise<Made> {
  const { signal, log, graceMs } = options;
  await tidy(target, options);
  let there = await judgeExisting(target.path, wanted, { signal, log });
  if (there.state === "foreign") there = await adopt(target, wanted, options);
  if (there.state === "usable") return { kind: "there", found: there.found, attempts: 0 };
  if (there.state === "invalid") {
    log.warn(`the image is damaged, importing it again: ${there.reason}`, { file: target.path });
  }
  if (there.state === "other") log.info(`replacing the image: ${there.reason}`, { file: target.path });

  for (let attempt = 1;; attempt++) {
    try {
      return { ...await build(target, wanted, there, options), attempts: attempt };
    } catch (error) {
      const mayPass = error instanceof Failure && WORTH_ANOTHER_TRY.has(error.code);
      if (!mayPass || attempt === 2) throw error;
      log.warn("starting over", { reason: error.message });
    } finally {
      await removeKept(target.path, { graceMs, log });
    }
  }
}

/** Removes what dead processes left and what has been kept long enough. Trouble with it is only said. */
export async function tidy(
  { path, directory, name }: Target,
  options: Pick<ImportOptions, "graceMs" | "log">,
): Promise<void> {
  const { graceMs, log } = options;
  try {
    await removeDeadTemps(directory, `.${name}.`, { graceMs, log });
    await removeKept(path, { graceMs, log });
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    log.warn("cannot tidy the directory", { directory, errno: errnoOf(error) });
  }
}

/** A file that an old script imported is taken over once its tables have been walked. */
async function adopt(target: Target, wanted: Wanted, options: MakeOptions): Promise<Existing> {
  const { signal, log, activity } = options;
  activity.begin("check");
  const verdict = await checkImage(target.path, { level: "deep", signal });
  if (verdict.state === "unknown") throw cannotTell(target.path, verdict.reason);
  if (verdict.state !== "valid") return verdict;
  if (wanted.referenceDigest !== undefined || wanted.pinnedDigest !== undefined) {
    return { state: "other", reason: UNKNOWN_ORIGIN, inode: null };
  }
  using file = await Deno.open(target.path);
  const { sizeBytes } = verdict;
  const bar = activity.bar("hash", "sha256", sizeBytes);
  const sha256 = await hashFile(file, { signal, onBytes: (bytes) => bar.done += bytes });
  const sidecar = sidecarOf(verdict, await tailHash(file, sizeBytes), options);
  await writeSidecar(target, { ...sidecar, uri: wanted.uri, sha256 }, options);
  log.warn("adopted an image that something else made: it is taken for what was asked for", {
    file: target.path,
  });
  for (const warning of verdict.warnings) log.warn(warning, { file: target.path });
  return { state: "usable", found: { sizeBytes, digest: undefined, sha256 } };
}

async function build(
  target: Target,
  wanted: Wanted,
  there: Existing,
  options: MakeOptions,
): Promise<Omit<Made, "attempts">> {
  const { activity, signal, log, mode } = options;
  const begun = performance.now();
  activity.begin("resolve");
  const engine = await options.engine.open();
  const image = await engine.find();
  await checkSpace([...image.needs, {
    label: "the image's directory",
    directory: target.directory,
    bytes: image.targetBytes,
    inodes: 4,
    hint: `free space in "${target.directory}" or choose another --output`,
  }]);
  await using temp = await createTemp(target.directory, target.name);
  await image.build(temp.path);
  const built = await inspect(image, temp, options);
  await Deno.chmod(temp.path, mode);

  activity.begin("publish");
  signal.throwIfAborted();
  const now = await judgeExisting(target.path, wanted, { signal, log });
  if (now.state === "usable") {
    log.info("another process published the image meanwhile, ours is dropped", { file: target.path });
    return { kind: "there", found: now.found };
  }
  if (!await keepReplaced(target, there, now, options)) {
    // Without a lock, another process may have put a good one there since we looked.
    const again = await judgeExisting(target.path, wanted, { signal, log });
    if (again.state === "usable") return { kind: "there", found: again.found };
    await keepReplaced(target, there, { state: "other", reason: "", inode: null }, options);
  }
  await dropSidecar(target, options);
  await activity.ticking(SYNC_LIMIT_MS, moveInPlace(temp.path, target.path, log));
  const seconds = Math.round(performance.now() - begun) / 1000;
  const record = {
    ...sidecarOf(built.valid, built.tailSha256, options),
    uri: options.uri,
    digest: image.digest,
    reference_digest: image.referenceDigest,
    platform: image.platform,
    sha256: built.sha256,
    engine: engine.name,
    compression: engine.compression,
    seconds,
  };
  await activity.ticking(SYNC_LIMIT_MS, writeSidecar(target, record, options));
  return {
    kind: "imported",
    found: { sizeBytes: built.valid.sizeBytes, digest: image.digest, sha256: built.sha256 },
  };
}

/** Checks what the engine made: tables, then all bytes, read back after they have reached the disk. */
async function inspect(
  image: FoundImage,
  temp: { path: string; file: Deno.FsFile },
  { activity, signal }: MakeOptions,
): Promise<Built> {
  activity.begin("check");
  const verdict = await checkImage(temp.path, { level: "deep", signal });
  if (verdict.state === "absent" || (await Deno.stat(temp.path)).ino !== (await temp.file.stat()).ino) {
    const reason = "it was removed by another process";
    throw new Failure("TEMPFAIL", `Cannot finish "${temp.path}": ${reason}`, { code: "temp_lost" });
  }
  if (verdict.state === "unknown") throw cannotTell(temp.path, verdict.reason);
  if (verdict.state === "invalid") {
    throw new Failure("TEMPFAIL", `Cannot use the image just made: ${verdict.reason}`, {
      code: "invalid_result",
      hint: "nothing was published; try again",
    });
  }
  await activity.ticking(SYNC_LIMIT_MS, syncFile(temp.file, temp.path));
  const bar = activity.bar("hash", "sha256", verdict.sizeBytes);
  const sha256 = await hashFile(temp.file, { signal, onBytes: (bytes) => bar.done += bytes });
  return { image, valid: verdict, sha256, tailSha256: await tailHash(temp.file, verdict.sizeBytes) };
}

/**
 * What goes keeps a second name: a refused file as evidence, a good one for whoever has it open. False when the
 * refused file is no longer there.
 */
async function keepReplaced(
  target: Target,
  before: Existing,
  now: Existing,
  { log }: MakeOptions,
): Promise<boolean> {
  if (now.state === "absent") return true;
  const isBad = now.state === "invalid";
  const kept = await keepAside(target.path, isBad ? "bad" : "old", { inode: isBad ? now.inode : null, log });
  if (kept === undefined) return !isBad;
  if (isBad) log.warn("the damaged image is kept for a look", { file: kept });
  else log.info("the replaced image stays for its readers", { file: kept, was: before.state });
  return true;
}

function sidecarOf(
  { sizeBytes, superblock }: Extract<Verdict, { state: "valid" }>,
  tailSha256: string,
  { davitVersion, identity }: MakeOptions,
): Sidecar {
  return {
    schema: 1,
    size: sizeBytes,
    bytes_used: superblock.bytesUsed,
    mkfs_time: superblock.mkfsTime,
    superblock: superblock.hex,
    tail_sha256: tailSha256,
    davit: davitVersion,
    host: identity.host,
    uid: identity.uid,
    slurm_job: identity.job,
    published: new Date().toISOString(),
  };
}

/**
 * The old record goes before the new image comes: two builds of one size and time can have equal superblocks, and
 * a run that is killed in between must not leave one image with the record of the other.
 */
async function dropSidecar(target: Target, { log }: MakeOptions): Promise<void> {
  try {
    // An empty directory would be removed too, and is none of ours.
    if ((await Deno.lstat(sidecarPath(target.path))).isDirectory) return;
    await Deno.remove(sidecarPath(target.path));
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== "ENOENT") {
      log.warn("cannot remove the old record", { file: sidecarPath(target.path), errno });
    }
  }
}

async function writeSidecar(target: Target, sidecar: Sidecar, { log }: MakeOptions): Promise<void> {
  const path = sidecarPath(target.path);
  try {
    await using temp = await createTemp(target.directory, `${target.name}.json`);
    await Deno.writeTextFile(temp.path, `${JSON.stringify(sidecar, null, 2)}\n`);
    await Deno.chmod(temp.path, 0o644);
    await syncFile(temp.file, temp.path);
    await moveInPlace(temp.path, path, log);
  } catch (error) {
    const reason = error instanceof Failure ? error.message : cannotWrite(path, error).message;
    // The image is good and in its place; without the sidecar the next job has to look closer, that is all.
    log.warn("cannot record what the image is", { reason });
  }
}
