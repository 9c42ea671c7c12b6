/**
 * The file with a server's process id. It may lie in a directory that everybody writes to: it is put in place by a
 * rename, so that nothing is written through a link that somebody planted there.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";
import { moveInPlace, splitPath } from "../host/publish.ts";
import { createTemp } from "../host/temp_files.ts";

/** Writes the id of this process to `path`, which is absolute. Throws a Failure. */
export async function writePidFile(path: string, log: Log): Promise<void> {
  const { directory, name } = splitPath(path);
  try {
    await using temp = await createTemp(directory, name);
    await temp.file.write(new TextEncoder().encode(`${Deno.pid}\n`));
    await moveInPlace(temp.path, path, log);
  } catch (error) {
    const cause = error instanceof Failure ? error.cause : error;
    throw new Failure("CANTCREAT", `Cannot write pid file "${path}": ${messageOf(cause)}`, {
      code: "cannot_create",
      hint: "give another --pid-file",
      cause: error,
    });
  }
}

/** Removes it, unless it is another's by now or was removed before. */
export async function removePidFile(path: string, log: Log): Promise<void> {
  try {
    if ((await Deno.readTextFile(path)).trim() === String(Deno.pid)) await Deno.remove(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    if (errnoOf(error) !== "ENOENT") {
      log.warn("cannot remove the pid file", { file: path, errno: errnoOf(error) });
    }
  }
}
