/**
 * Puts a finished file in place so that no reader ever sees half of it or loses the one it has open: everything
 * is on disk before the rename, the rename is atomic, and what it replaces keeps a name of its own for a while
 * (on NFS an unlinked file gives other clients ESTALE).
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf, isNoSpace } from "./errno.ts";
import type { Log } from "./log.ts";

/** Why a replaced file is kept: `old` was good, `bad` was refused. */
export type KeptKind = "old" | "bad";

/** Splits an absolute path; the base name is never empty. */
export function splitPath(path: string): { directory: string; name: string } {
  const at = path.lastIndexOf("/");
  return { directory: path.slice(0, at) || "/", name: path.slice(at + 1) };
}

/** Everything of `file` is on disk when this returns; a full disk or quota shows here at the latest. */
export async function syncFile(file: Deno.FsFile, path: string): Promise<void> {
  try {
    await file.sync();
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** Makes a rename in `directory` last through a crash. Some network filesystems refuse it: nothing is lost then. */
export async function syncDirectory(directory: string, log: Log): Promise<void> {
  try {
    using handle = await Deno.open(directory);
    await handle.sync();
  } catch (error) {
    log.debug("cannot sync the directory", { directory, errno: errnoOf(error) });
  }
}

/**
 * Gives what is at `target` a second name, `.NAME.old.TIME.RANDOM` or `.NAME.bad.…`, and returns it; undefined
 * when nothing is there, or no longer the file with `inode`.
 */
export async function keepAside(
  target: string,
  kind: KeptKind,
  { inode, log }: { inode: number | null; log: Log },
): Promise<string | undefined> {
  const { directory, name } = splitPath(target);
  const kept = `${directory}/.${name}.${kind}.${Date.now()}.${crypto.randomUUID().slice(0, 8)}`;
  try {
    if (inode !== null && (await Deno.lstat(target)).ino !== inode) return undefined;
    await Deno.link(target, kept);
    return kept;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT") return undefined;
    // protected_hardlinks refuses another user's file; FAT and some FUSE filesystems have no links.
    if (errno === undefined || !["EPERM", "EOPNOTSUPP", "EMLINK", "ENOSYS", "EACCES"].includes(errno)) {
      throw error;
    }
    log.warn(
      "hard links are refused here, moving the replaced file instead: its name is absent for a moment",
      {
        file: target,
        errno,
      },
    );
    return await moveAside(target, kept);
  }
}

async function moveAside(target: string, kept: string): Promise<string> {
  try {
    await Deno.rename(target, kept);
    return kept;
  } catch (error) {
    throw new Failure("NOPERM", `Cannot keep "${target}" before replacing it: ${messageOf(error)}`, {
      code: "cannot_replace",
      hint: "its owner, or whoever owns the directory, can replace it",
      cause: error,
    });
  }
}

/** Renames `temp` to `target` for good. */
export async function moveInPlace(temp: string, target: string, log: Log): Promise<void> {
  try {
    await Deno.rename(temp, target);
  } catch (error) {
    throw cannotWrite(target, error);
  }
  await syncDirectory(splitPath(target).directory, log);
}

/** Removes kept files of `target` that are older than `graceMs`. The time is in the name: links share mtimes. */
export async function removeKept(
  target: string,
  { graceMs, log }: { graceMs: number; log: Log },
): Promise<void> {
  const { directory, name } = splitPath(target);
  const prefixes = [`.${name}.old.`, `.${name}.bad.`];
  for await (const entry of Deno.readDir(directory)) {
    const prefix = prefixes.find((candidate) => entry.name.startsWith(candidate));
    const keptAt = Number(/^(\d{13})\.[0-9a-f]{8}$/.exec(entry.name.slice(prefix?.length ?? 0))?.[1]);
    if (prefix === undefined || Number.isNaN(keptAt) || Date.now() - keptAt < graceMs) continue;
    try {
      await Deno.remove(`${directory}/${entry.name}`);
      log.info("removed a kept file after its grace", { file: `${directory}/${entry.name}` });
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") {
        log.warn("cannot remove a kept file", { file: `${directory}/${entry.name}`, errno: errnoOf(error) });
      }
    }
  }
}

/** The failure for a file that could not be written, by its reason. */
export function cannotWrite(path: string, cause: unknown): Failure {
  const { directory } = splitPath(path);
  if (isNoSpace(cause)) {
    const what = errnoOf(cause) === "EDQUOT" ? "your quota is used up" : "no space is left";
    return new Failure("IOERR", `Cannot write "${path}": ${what} on the filesystem of "${directory}"`, {
      code: "no_space",
      hint: `free space in "${directory}" or choose another --output`,
      cause,
    });
  }
  const errno = errnoOf(cause);
  const refused = errno === "EACCES" || errno === "EPERM" || errno === "EROFS";
  return new Failure(refused ? "CANTCREAT" : "IOERR", `Cannot write "${path}": ${messageOf(cause)}`, {
    code: refused ? "cannot_create" : "cannot_write",
    hint: refused ? `"${directory}" must be writable by this user` : undefined,
    cause,
  });
}
