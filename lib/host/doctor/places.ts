/**
 * Directories, by what davit wants of them: a place for the files through which a job and its container
 * talk (rpc), and room. Each is tried for real, by making, filling and removing a small file.
 *
 * @module
 */
import { formatBytes } from "../../units.ts";
import { errnoOf } from "../errno.ts";
import { createTemp } from "../temp_files.ts";
import { type Check, type Finding, reasonOf, shown } from "./check.ts";
import { mountHolding } from "./mount_holding.ts";

const TRIED_BYTES = 4_096;
const OTHERS_MAY_WRITE = 0o002;
const STICKY = 0o1000;
const LOW_SHARE = 0.05;
const LOW_BYTES = 1 << 30;

/** Whether files for a container's steps can be kept in `directory`; undefined is a HOME that is not set. */
export function rpcDirCheck(directory: string | undefined, { proc }: { proc: string }): Check {
  return {
    name: "rpc-dir",
    place: directory ?? "$HOME",
    look: () =>
      directory === undefined
        ? Promise.resolve(unusable("HOME is not set", "set HOME to a directory of this user"))
        : lookAtRpcDir(directory, proc),
  };
}

const MEND_RPC = "use another candidate, or mount an emptyDir or tmpfs there that this user can write to";

function unusable(detail: string, mend: string): Finding {
  return { state: "missing", detail, cost: "it cannot hold the files of job steps", mend };
}

async function lookAtRpcDir(directory: string, proc: string): Promise<Finding> {
  let isSymlink: boolean;
  try {
    isSymlink = (await Deno.lstat(directory)).isSymlink;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== "ENOENT") return unusable(reasonOf(error), MEND_RPC);
    return await lookAtParent(directory, proc);
  }
  try {
    const path = await Deno.realPath(directory);
    const { uid, mode } = await Deno.stat(path);
    await tryToWrite(path, proc);
    const faults = [
      ...isSymlink ? [`it is a symlink to ${shown(path)}`] : [],
      ...uid !== 0 && uid !== Deno.uid() ? [`it belongs to uid ${uid}`] : [],
      ...((mode ?? 0) & (OTHERS_MAY_WRITE | STICKY)) === OTHERS_MAY_WRITE
        ? ["everybody may remove others' files in it"]
        : [],
      ...await isNoexec(path, proc) ? ["it is mounted noexec"] : [],
    ];
    if (faults.length === 0) return { state: "ok", detail: "files can be made, written and removed" };
    return {
      state: "degraded",
      detail: `files can be made, written and removed, but ${faults.join(" and ")}`,
      cost: faults.every((fault) => fault.endsWith("noexec"))
        ? "no program put there can be started, only read"
        : "another user may replace what is in it, or where it leads",
      mend: faults.every((fault) => fault.endsWith("noexec"))
        ? "use another candidate for programs, or mount it with exec"
        : "use another candidate, or make a directory of your own with mode 0700",
    };
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return unusable(`no file can be made and written: ${reasonOf(error)}`, MEND_RPC);
  }
}

/** What is not there yet would be made in its parent. */
async function lookAtParent(directory: string, proc: string): Promise<Finding> {
  const parent = directory.slice(0, directory.lastIndexOf("/")) || "/";
  try {
    await tryToWrite(await Deno.realPath(parent), proc);
    return { state: "ok", detail: `not there yet; it can be made in ${shown(parent)}` };
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return unusable(`it is not there and cannot be made: ${reasonOf(error)}`, MEND_RPC);
  }
}

async function tryToWrite(path: string, proc: string): Promise<void> {
  await using temp = await createTemp(path, "davit-doctor", { proc, mode: 0o600 });
  let rest = new Uint8Array(TRIED_BYTES);
  while (rest.length > 0) rest = rest.subarray(await temp.file.write(rest));
  await temp.file.sync(); // where blocks are handed out late, fullness shows only here
}

async function isNoexec(path: string, proc: string): Promise<boolean> {
  return (await mountHolding(path, proc))?.options.has("noexec") ?? false;
}

/** Room in `directory`. `isSystem`: that it is read-only is as it may be. */
export function diskCheck(
  directory: string,
  { proc, isSystem = false }: { proc: string; isSystem?: boolean },
): Check {
  return { name: "disk", place: directory, look: () => lookAtDisk(directory, proc, isSystem) };
}

async function lookAtDisk(directory: string, proc: string, isSystem: boolean): Promise<Finding> {
  const { statfs } = await import("node:fs/promises");
  let path: string;
  let facts: Awaited<ReturnType<typeof statfs>>;
  try {
    path = await Deno.realPath(directory);
    facts = await statfs(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return {
      state: "missing",
      detail: reasonOf(error),
      cost: directory === "/dev/shm" ? NO_SHM : "nothing can be kept there",
      mend: "make it, or mount it",
    };
  }
  const { bsize, blocks, bavail, files, ffree } = facts;
  const free = bavail * bsize;
  const total = blocks * bsize;
  // btrfs and others that make inodes as they go report 0 of 0.
  const inodes = files > 0 ? `, ${ffree} of ${files} inodes free` : "";
  const detail = `${formatBytes(free)} of ${formatBytes(total)} free${inodes}`;
  if ((await mountHolding(path, proc))?.options.has("ro")) {
    if (isSystem) return { state: "ok", detail: `read-only; ${detail}` };
    return {
      state: "degraded",
      detail: `read-only; ${detail}`,
      cost: "nothing can be written there",
      mend: "mount a writable filesystem or a tmpfs there",
    };
  }
  const lowBytes = free < LOW_BYTES || free < total * LOW_SHARE;
  const lowInodes = files > 0 && ffree < files * LOW_SHARE;
  if (!lowBytes && !lowInodes) return { state: "ok", detail };
  const lack = [...lowBytes ? ["bytes"] : [], ...lowInodes ? ["inodes"] : []].join(" and ");
  return {
    state: "degraded",
    detail: `low on ${lack}: ${detail}`,
    cost: directory === "/dev/shm"
      ? NO_SHM
      : "imports, logs and temporary files there may fail for lack of room",
    mend: directory === "/dev/shm"
      ? "give the container more: docker run --shm-size 16g, or an emptyDir with medium: Memory"
      : "free space there, or keep images and caches elsewhere (--output, DAVIT_IMAGE_CACHE_DIR)",
  };
}

const NO_SHM = "NCCL and the workers of PyTorch's data loaders use it, and die (SIGBUS) when it is small";
