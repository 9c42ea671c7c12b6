/**
 * An exclusive or shared flock(2) on a lock file that other programs may lock too (`flock FILE.lock …`). The file is never
 * truncated and never deleted: deleting it while somebody waits lets two holders in. Its mode is 0666, because a
 * lock made 0644 by one user locks every other user out (measured: their shell goes on without a lock).
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "./errno.ts";

/** A held lock; disposing it frees it. */
export interface Lock extends Disposable {
  readonly path: string;
}

/** What one try gave. `errno` says how the lock is refused: no such thing here, no permission, no answer. */
export type LockTry = { kind: "held"; lock: Lock } | { kind: "busy" } | { kind: "refused"; errno: string };

/** Errors of flock(2) by which filesystems say that they have no locks, or none at the moment. */
export const NO_LOCK_ERRNOS: ReadonlySet<string> = new Set([
  ...["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL", "EBADF"],
  ...["EIO", "ESTALE", "ETIMEDOUT"],
]);
/** The same, and those of opening the lock file: no lock, but no reason to stop either. */
const REFUSALS = new Set([...NO_LOCK_ERRNOS, "EACCES", "EPERM", "EROFS"]);

/**
 * Tries once, without waiting; `isShared` lets others who say so hold it too. Throws a {@linkcode Failure} when
 * there can be no lock file at `path`.
 */
export async function tryLock(path: string, { isShared = false } = {}): Promise<LockTry> {
  // A lock file replaced between open and lock must not count: take the new one, a few times.
  for (let round = 0; round < 10; round++) {
    const file = await openLockFile(path);
    if (typeof file === "string") return { kind: "refused", errno: file };
    let keep = false;
    try {
      if (!await file.tryLock(!isShared)) return { kind: "busy" };
      if (!await isStill(path, file)) continue;
      keep = true;
      // Deno opens with O_CLOEXEC: no child can keep the lock alive.
      return { kind: "held", lock: { path, [Symbol.dispose]: () => file.close() } };
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== undefined && REFUSALS.has(errno)) return { kind: "refused", errno };
      throw cannotLock(path, error);
    } finally {
      if (!keep) file.close();
    }
  }
  throw new Failure(
    "TEMPFAIL",
    `Cannot lock "${path}": the file was replaced again and again while locking it`,
    {
      code: "lock_unstable",
      hint: "something deletes the lock file; nothing should",
    },
  );
}

/** The open lock file, or the errno by which it is refused. */
async function openLockFile(path: string): Promise<Deno.FsFile | string> {
  for (let round = 0; round < 10; round++) {
    try {
      // Opening a FIFO would wait for a writer for ever.
      if (!(await Deno.stat(path)).isFile) throw notAFile(path);
      // Without O_CREAT: in a sticky directory O_CREAT on another's file is EACCES (protected_regular).
      return await Deno.open(path, { read: true, write: true });
    } catch (error) {
      const errno = errnoOf(error);
      // flock needs no write permission, except on NFS, which answers EBADF then.
      if (errno === "EACCES" || errno === "EROFS") return await openReadOnly(path, errno);
      if (errno !== undefined && REFUSALS.has(errno)) return errno;
      if (errno !== "ENOENT") throw error instanceof Failure ? error : cannotLock(path, error);
    }
    try {
      const file = await Deno.open(path, { read: true, write: true, createNew: true });
      await Deno.chmod(path, 0o666); // the umask has taken bits away
      return file;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== undefined && REFUSALS.has(errno)) return errno;
      if (errno !== "EEXIST") throw cannotLock(path, error);
    }
  }
  throw cannotLock(path, new Error("it appears and disappears"));
}

async function openReadOnly(path: string, refused: string): Promise<Deno.FsFile | string> {
  try {
    return await Deno.open(path, { read: true });
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return refused;
  }
}

async function isStill(path: string, file: Deno.FsFile): Promise<boolean> {
  const held = await file.stat();
  try {
    const named = await Deno.stat(path);
    return named.ino === held.ino && named.dev === held.dev;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

function notAFile(path: string): Failure {
  return new Failure("CANTCREAT", `Cannot lock "${path}": it is not a regular file, wanted a lock file`, {
    code: "bad_lock_file",
    hint: "name another one with --lock-file",
  });
}

function cannotLock(path: string, cause: unknown): Failure {
  const errno = errnoOf(cause);
  return new Failure(
    errno === "ENOENT" || errno === "ENOTDIR" ? "CANTCREAT" : "IOERR",
    `Cannot lock "${path}": ${messageOf(cause)}`,
    {
      code: errno === "ENOSPC" || errno === "EDQUOT" ? "no_space" : "cannot_lock",
      hint: errno === "ENOENT" ? "--mkdir creates the directory" : undefined,
      cause,
    },
  );
}

/** Who holds a flock on `path` according to /proc/locks: its pid, or undefined when it is on another host. */
export async function lockOwner(path: string, proc = "/proc"): Promise<number | undefined> {
  return (await lockOwners(path, proc))[0]?.pid;
}

/** One holder of a flock on this host. */
export interface LockOwner {
  readonly pid: number;
  readonly isShared: boolean;
}

/** All who hold a flock on `path` according to /proc/locks; none when they are on other hosts. */
export async function lockOwners(path: string, proc = "/proc"): Promise<LockOwner[]> {
  const owners: LockOwner[] = [];
  try {
    const { dev, ino } = await Deno.stat(path);
    const device = `${hex((dev >>> 8) & 0xfff)}:${hex((dev & 0xff) | ((dev >>> 12) & 0xfff00))}:${ino}`;
    for (const line of (await Deno.readTextFile(`${proc}/locks`)).split("\n")) {
      if (line.includes("->")) continue; // it waits, it does not hold
      const [, kind, , access, pid, file] = line.trim().split(/\s+/);
      if (kind === "FLOCK" && file === device && Number(pid) > 0) {
        owners.push({ pid: Number(pid), isShared: access === "READ" });
      }
    }
  } catch (error) {
    // Only a name for a message is lost; the caller goes on without.
    if (errnoOf(error) === undefined) throw error;
  }
  return owners;
}

function hex(number: number): string {
  return number.toString(16).padStart(2, "0");
}
