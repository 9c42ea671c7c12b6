/**
 * Where an image will be written: the output as named, followed through symlinks, with everything that stands in
 * the way said before any work is done.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import { cannotWrite, splitPath } from "../host/publish.ts";

/** A place for an image. */
export interface Target {
  /** Absolute, as named: what users and old scripts call it, and what its lock is named after. */
  readonly named: string;
  /** Absolute, symlinks followed: what is replaced by rename. */
  readonly path: string;
  readonly directory: string;
  readonly name: string;
}

const LINK_LIMIT = 40;

/** Finds the place of `output`, making its directory with `mkdir`. */
export async function locateTarget(output: string, { mkdir }: { mkdir: boolean }): Promise<Target> {
  if (output === "" || output.includes("\0")) throw cannotCreate(output, "it is not a file name");
  const named = output.startsWith("/") ? output : `${Deno.cwd()}/${output}`;
  if (named.endsWith("/")) throw cannotCreate(output, "it names a directory, wanted a file");
  if (mkdir) await makeDirectory(splitPath(named).directory);
  const path = await follow(named, output);
  const { directory, name } = splitPath(path);
  // Names beside it: .NAME.tmp.BOOT.PID.RANDOM and the like must fit in 255 bytes too.
  if (new TextEncoder().encode(name).length > 200) {
    throw cannotCreate(output, "its name is longer than 200 bytes");
  }
  return { named, path, directory, name };
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await Deno.mkdir(directory, { recursive: true });
  } catch (error) {
    throw cannotWrite(directory, error);
  }
}

async function follow(named: string, output: string): Promise<string> {
  let at = named;
  for (let links = 0; links < LINK_LIMIT; links++) {
    const { directory, name } = splitPath(at);
    const real = `${await realDirectory(directory, output)}/${name}`.replace(/^\/\//, "/");
    let info: Deno.FileInfo;
    try {
      info = await Deno.lstat(real);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return real;
      throw cannotLook(output, error);
    }
    if (!info.isSymlink) {
      if (!info.isFile) {
        throw cannotCreate(
          output,
          `it is ${info.isDirectory ? "a directory" : "a special file"}, wanted a file`,
        );
      }
      return real;
    }
    const goal = await Deno.readLink(real);
    at = goal.startsWith("/") ? goal : `${splitPath(real).directory}/${goal}`;
  }
  throw cannotCreate(output, `more than ${LINK_LIMIT} symbolic links lead on from it`);
}

async function realDirectory(directory: string, output: string): Promise<string> {
  try {
    const real = await Deno.realPath(directory);
    if (!(await Deno.stat(real)).isDirectory) throw cannotCreate(output, `"${directory}" is not a directory`);
    return real;
  } catch (error) {
    if (error instanceof Failure) throw error;
    if (errnoOf(error) === "ENOENT") {
      throw cannotCreate(output, `the directory "${directory}" does not exist`, "--mkdir creates it");
    }
    if (errnoOf(error) === "ENOTDIR") {
      throw cannotCreate(output, `a part of "${directory}" is not a directory`);
    }
    throw cannotLook(output, error);
  }
}

function cannotCreate(output: string, reason: string, hint?: string): Failure {
  return new Failure("CANTCREAT", `Cannot write image "${output}": ${reason}`, {
    code: "cannot_create",
    hint,
  });
}

/** A failed look proves nothing: nothing is touched. */
function cannotLook(output: string, cause: unknown): Failure {
  const denied = errnoOf(cause) === "EACCES";
  return new Failure(denied ? "NOPERM" : "TEMPFAIL", `Cannot look at "${output}": ${messageOf(cause)}`, {
    code: denied ? "no_permission" : "cannot_tell",
    cause,
  });
}
