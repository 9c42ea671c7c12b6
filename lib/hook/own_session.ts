/**
 * How a program gets a session of its own without fork(2). For `detached` Deno forks, and that takes 6 to 12 ms in a
 * server of 80 MB, where posix_spawn(3) takes 0.6 to 1 and cannot do setsid(2) (Deno 2.9.6, 2 shared cores). Where the
 * image has setsid(1), it does that between the two and becomes the program: the same process, 0.7 ms more.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import { STANDARD_PATH } from "./job_env.ts";

/** What `Deno.Command` gets. */
export interface SessionStart {
  readonly argv: readonly string[];
  readonly detached: boolean;
}

const ELF = [0x7f, 0x45, 0x4c, 0x46];
const OTHERS_EXECUTE = 0o001;

/** Where it was last: looking through twelve directories takes 0.3 ms. */
let setsid: string | undefined;

/**
 * The way to start `argv`. Only for what setsid(1) is certain to become: why anything else cannot be started would be
 * said by it, in words of its own, and not to us. `path` is that of the program, `base` that of this process.
 */
export function sessionStart(
  argv: readonly string[],
  { path, cwd, base }: { path: string | undefined; cwd: string | undefined; base: string | undefined },
): SessionStart {
  const plain = { argv, detached: true };
  const program = findIn(path, argv[0]!, cwd);
  if (program === undefined || !isOurKind(program)) return plain;
  if (setsid === undefined || !isThere(setsid)) setsid = findIn(base, "setsid", undefined);
  return setsid === undefined ? plain : { argv: [setsid, "--", ...argv], detached: false };
}

/** Where execvp(3) would find a program; undefined where that is not certain. */
function findIn(path: string | undefined, name: string, cwd: string | undefined): string | undefined {
  if (name.includes("/")) return name.startsWith("/") ? name : cwd && `${cwd}/${name}`;
  const directories = (path || STANDARD_PATH).split(":");
  if (!directories.every((directory) => directory.startsWith("/"))) return undefined;
  return directories.map((directory) => `${directory}/${name}`).find(isThere);
}

function isThere(path: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile && ((mode ?? 0) & OTHERS_EXECUTE) !== 0;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/** A binary that everybody may execute: nothing that names an interpreter. */
function isOurKind(path: string): boolean {
  if (!isThere(path)) return false;
  try {
    using file = Deno.openSync(path);
    const bytes = new Uint8Array(ELF.length);
    return file.readSync(bytes) === ELF.length && bytes.every((byte, at) => byte === ELF[at]);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false; // executable and not readable
  }
}
