/**
 * The file with the truth about a step, for whoever reads it after the exit status: whole or not there at all.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";
import { cannotWrite, moveInPlace, splitPath } from "../host/publish.ts";
import { createTemp } from "../host/temp_files.ts";

/** Fails before the step runs where the file could not be written after it. `path` is absolute. */
export async function checkResultFile(path: string): Promise<void> {
  const { directory, name } = splitPath(path);
  await forResult(path, async () => {
    await using _temp = await createTemp(directory, name);
    const there = await Deno.stat(path).catch((error) => {
      if (errnoOf(error) !== "ENOENT") throw error;
    });
    if (there === undefined) return;
    if (!there.isFile) {
      throw new Failure("CANTCREAT", `Cannot write "${path}": what is there is no file`, {
        code: "cannot_create",
      });
    }
    // An old result must not pass for this step's, should we not live to write ours.
    await Deno.remove(path);
  });
}

/** Writes `result` as JSON. Throws a Failure naming the file. */
export async function writeResultFile(path: string, result: unknown, log: Log): Promise<void> {
  const { directory, name } = splitPath(path);
  await forResult(path, async () => {
    await using temp = await createTemp(directory, name);
    const bytes = new TextEncoder().encode(`${JSON.stringify(result, null, 2)}\n`);
    for (let at = 0; at < bytes.length;) at += await temp.file.write(bytes.subarray(at));
    await temp.file.sync();
    await moveInPlace(temp.path, path, log);
  });
}

async function forResult(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Failure) && errnoOf(error) === undefined) throw error;
    const { exitStatus, code, hint } = error instanceof Failure ? error : cannotWrite(path, error);
    // The temporary file's name says nothing to anybody.
    const why = errnoOf(error) === "ENOSPC" ? "no space is left" : reasonOf(error);
    throw new Failure(exitStatus, `Cannot write "${path}": ${why}`, {
      code,
      hint: code === "no_space"
        ? `free space in "${splitPath(path).directory}" or give another --result`
        : hint,
      cause: error,
    });
  }
}

function reasonOf(error: unknown): string {
  return (error as Error).message.replace(/^Cannot write "[^"]*": /, "");
}
