/**
 * A place of our own on this node for an image that could not be had from the shared directory in time.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import { cannotWrite } from "../host/publish.ts";
import type { Target } from "./target.ts";

/** `DIR/davit-UID/NAME`, in a directory that is ours alone: others may write to DIR, which is often /tmp. */
export async function privateTarget(parent: string, name: string, uid: number | null): Promise<Target> {
  const directory = `${parent.replace(/\/+$/, "")}/davit-${uid ?? "private"}`;
  try {
    await Deno.mkdir(directory, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw cannotWrite(directory, error);
  }
  const info = await look(directory);
  if (info.isSymlink || !info.isDirectory || info.uid !== uid || ((info.mode ?? 0) & 0o022) !== 0) {
    throw new Failure(
      "NOPERM",
      `Cannot use "${directory}" for a private image: it is not a directory of our own`,
      {
        code: "no_permission",
        hint: "remove it, or name another place with --private-dir",
      },
    );
  }
  const path = `${directory}/${name}`;
  return { named: path, path, directory, name };
}

async function look(directory: string): Promise<Deno.FileInfo> {
  try {
    return await Deno.lstat(directory);
  } catch (error) {
    throw new Failure("IOERR", `Cannot look at "${directory}": ${messageOf(error)}`, {
      code: "cannot_tell",
      cause: error,
    });
  }
}
