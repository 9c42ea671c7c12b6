/**
 * Unfinished files beside their final place, named `.BASE.tmp.BOOT.PID.RANDOM`. The owner holds a flock on its
 * file as a sign of life, so that a later run can tell what a killed one left from what a live one is writing.
 * BOOT stands for the kernel's boot and the process id namespace: elsewhere a process id means nothing.
 *
 * @module
 */
import { errnoOf } from "./errno.ts";
import { NO_LOCK_ERRNOS } from "./flock.ts";
import type { Log } from "./log.ts";
import { lockScopeOf, mountOf, readMounts } from "./mounts.ts";
import { cannotWrite } from "./publish.ts";

const TEMP_REGEXP = /^\..+\.tmp\.([0-9a-f]{8})\.(\d{1,10})\.[0-9a-f]{8}$/;
/** How filesystems that never have locks answer. Other errors prove nothing, and what they hit is not removed. */
const NEVER_LOCKS = new Set(["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL"]);
const MAX_TRIES = 10;
/** A writer may be silent for a while: whatever the grace, nothing younger is judged by its age. */
const MIN_AGE_MS = 3_600_000;

/** An unfinished file; disposing it closes it, and removes it unless it was renamed to its place. */
export interface Temp extends AsyncDisposable {
  readonly path: string;
  /** Open for reading and writing, and locked where the filesystem has locks. */
  readonly file: Deno.FsFile;
}

/** What varies where the machine is looked at. */
export interface TempOptions {
  readonly proc?: string;
  /** Permission bits before the umask. */
  readonly mode?: number;
}

/** A fresh name for an unfinished `base`. */
export async function tempName(base: string, { proc = "/proc" }: TempOptions = {}): Promise<string> {
  return `.${base}.tmp.${await bootId(proc)}.${Deno.pid}.${crypto.randomUUID().slice(0, 8)}`;
}

/** Makes an empty temp file in `directory`, which must exist; throws a Failure naming the file. */
export async function createTemp(directory: string, base: string, options: TempOptions = {}): Promise<Temp> {
  const { mode = 0o644 } = options;
  for (let tries = 1;; tries++) {
    const path = `${directory}/${await tempName(base, options)}`;
    let file: Deno.FsFile | undefined;
    try {
      file = await Deno.open(path, { read: true, write: true, createNew: true, mode });
      // A cleaner in another process id namespace may come between creating and locking.
      if (await holdOwn(path, file) || tries >= MAX_TRIES) return tempOf(path, file);
      file.close();
    } catch (error) {
      if (file !== undefined) await tempOf(path, file)[Symbol.asyncDispose]();
      throw cannotWrite(path, error);
    }
  }
}

function tempOf(path: string, file: Deno.FsFile): Temp {
  return {
    path,
    file,
    async [Symbol.asyncDispose]() {
      try {
        await Deno.remove(path);
      } catch (error) {
        if (errnoOf(error) !== "ENOENT") throw error;
      } finally {
        file.close();
      }
    },
  };
}

async function holdOwn(path: string, file: Deno.FsFile): Promise<boolean> {
  try {
    if (!await file.tryLock(true)) return false;
  } catch (error) {
    if (NO_LOCK_ERRNOS.has(errnoOf(error) ?? "")) return true;
    throw error;
  }
  return await isStill(path, file);
}

async function isStill(path: string, file: Deno.FsFile): Promise<boolean> {
  try {
    const [held, named] = [await file.stat(), await Deno.lstat(path)];
    return named.ino === held.ino && named.dev === held.dev;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

/**
 * Removes temp files in `directory` whose names begin with `prefix` and whose owners are gone: nobody holds the
 * lock, and the owner is a dead process of this boot, or of another boot where locks reach all hosts, or the file
 * is untouched for `graceMs` (an hour at least). What cannot be removed is logged. Throws what reading the
 * directory throws.
 */
export async function removeDeadTemps(
  directory: string,
  prefix: string,
  { graceMs, log, proc = "/proc" }: { graceMs: number; log: Log; proc?: string },
): Promise<void> {
  const boot = await bootId(proc);
  const locksTell = await locksReachAll(directory, proc);
  for await (const { name, isFile } of Deno.readDir(directory)) {
    const match = isFile && name.startsWith(prefix) ? TEMP_REGEXP.exec(name) : null;
    if (!match) continue;
    const path = `${directory}/${name}`;
    try {
      const pid = Number(match[2]);
      // In containers one process id comes again and again: under ours, the lock alone decides.
      const isOwnPid = match[1] === boot && pid === Deno.pid;
      const isForeign = match[1] !== boot;
      const isGone = isOwnPid || (isForeign ? locksTell : !isAlive(pid));
      if (!isGone && !await isOlderThan(path, Math.max(graceMs, MIN_AGE_MS))) continue;
      if (await removeUnlessHeld(path, { needsLock: isOwnPid || (isForeign && locksTell) })) {
        log.info("removed what a dead process left", { file: path });
      }
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined) throw error;
      // ENOENT: another cleaner was faster.
      if (errno !== "ENOENT") log.warn("cannot remove an old temp file", { file: path, errno });
    }
  }
}

async function locksReachAll(directory: string, proc: string): Promise<boolean> {
  try {
    const mount = mountOf(await Deno.realPath(directory), await readMounts(proc));
    const reach = mount && lockScopeOf(mount).reach;
    return reach === "host" || reach === "cluster";
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false; // then age decides
  }
}

async function removeUnlessHeld(path: string, { needsLock }: { needsLock: boolean }): Promise<boolean> {
  // Writable, because NFS turns flock into a lock that wants it.
  using file = await Deno.open(path, { read: true, write: true });
  try {
    if (!await file.tryLock(true)) return false;
  } catch (error) {
    if (!NEVER_LOCKS.has(errnoOf(error) ?? "")) throw error;
    if (needsLock) return false;
  }
  if (!await isStill(path, file)) return false;
  await Deno.remove(path);
  return true;
}

async function isOlderThan(path: string, ageMs: number): Promise<boolean> {
  const { mtime } = await Deno.lstat(path);
  return mtime !== null && Date.now() - mtime.getTime() > ageMs;
}

function isAlive(pid: number): boolean {
  if (pid < 1 || pid > 2 ** 22) return false;
  try {
    Deno.kill(pid, 0 as unknown as Deno.Signal);
    return true;
  } catch (error) {
    // kill(2) also sees processes that /proc hides; another user's gives EPERM.
    return !(error instanceof Deno.errors.NotFound);
  }
}

/** Eight digits for this boot and this process id namespace: in another one a process id means nothing. */
async function bootId(proc: string): Promise<string> {
  try {
    const boot = parseInt((await Deno.readTextFile(`${proc}/sys/kernel/random/boot_id`)).slice(0, 8), 16);
    const namespace = Number(/\d+/.exec(await Deno.readLink(`${proc}/self/ns/pid`))?.[0] ?? 0);
    return ((boot ^ namespace) >>> 0).toString(16).padStart(8, "0");
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    // Sandboxes without it: zero never equals a real id, so only lock and age decide there.
    return "00000000";
  }
}
