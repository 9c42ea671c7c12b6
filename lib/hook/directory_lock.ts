/**
 * One at a time of those who make something in a directory: by flock(2) on the directory itself, so that no file is
 * left. It is advice among davits; whoever cannot have it goes on without.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";

/** Anybody may lock a directory that he can read, and for ever. */
const TRIES = 100;
const TRY_MS = 50;

/** Runs `work` while nobody else does the same in `directory`. */
export async function inDirectory<T>(directory: string, work: () => Promise<T>): Promise<T> {
  using _held = await lock(directory);
  return await work();
}

async function lock(directory: string): Promise<Deno.FsFile | undefined> {
  let file: Deno.FsFile | undefined;
  try {
    file = await Deno.open(directory);
    for (let tries = 0; tries < TRIES && !await file.tryLock(true); tries++) {
      await new Promise((resolve) => setTimeout(resolve, TRY_MS));
    }
  } catch (error) {
    // No such directory, none to read, no locks there: what is done in it says what is wrong.
    if (errnoOf(error) === undefined) throw error;
  }
  return file;
}
