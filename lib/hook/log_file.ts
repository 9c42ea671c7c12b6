/**
 * A log in a file that is there again after a job removed it: "no log" is what the post-mortem finds otherwise.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import { type Fields, type Log, LOG_LEVELS, type LogLevel } from "../host/log.ts";
import { formatLogfmt } from "../host/logfmt.ts";
import { splitPath } from "../host/publish.ts";

/** Appends logfmt lines to `path`; what cannot be written goes to `fallback`. Throws a Failure when it cannot begin. */
export function fileLog(path: string, { level, fallback }: { level: LogLevel; fallback: Log }): Log {
  let file: Deno.FsFile | undefined;
  let place = path;
  try {
    Deno.mkdirSync(splitPath(path).directory, { recursive: true });
    file = Deno.openSync(path, { append: true, create: true, mode: 0o600 });
    place = Deno.realPathSync(path);
  } catch (error) {
    throw new Failure("CANTCREAT", `Cannot write log file "${path}": ${messageOf(error)}`, {
      code: "cannot_create",
      hint: "give another --log-file",
      cause: error,
    });
  }

  function write(name: LogLevel, message: string, fields?: Fields): void {
    if (LOG_LEVELS.indexOf(name) > LOG_LEVELS.indexOf(level)) return;
    const line = `${formatLogfmt({ ts: new Date().toISOString(), level: name, msg: message, ...fields })}\n`;
    try {
      if (file === undefined || !isStill(place, file)) {
        file?.close();
        file = undefined;
        file = openAgain(place);
      }
      for (let bytes = new TextEncoder().encode(line); bytes.length > 0;) {
        bytes = bytes.subarray(file.writeSync(bytes));
      }
    } catch {
      fallback[name](message, fields); // a full disk, or somebody else's file in its place
    }
  }

  return {
    error: (message, fields) => write("error", message, fields),
    warn: (message, fields) => write("warn", message, fields),
    info: (message, fields) => write("info", message, fields),
    debug: (message, fields) => write("debug", message, fields),
  };
}

/** Never through a link: in /tmp anybody may have planted one, and we may be root. */
function openAgain(path: string): Deno.FsFile {
  Deno.mkdirSync(splitPath(path).directory, { recursive: true });
  const options = { append: true, mode: 0o600 };
  if (!exists(path)) return Deno.openSync(path, { ...options, createNew: true });
  if (!Deno.lstatSync(path).isFile) throw new Deno.errors.AlreadyExists(path);
  const file = Deno.openSync(path, options);
  if (isStill(path, file)) return file;
  file.close();
  throw new Deno.errors.AlreadyExists(path);
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    return false;
  }
}

function isStill(path: string, file: Deno.FsFile): boolean {
  try {
    const [held, named] = [file.statSync(), Deno.lstatSync(path)];
    return held.ino === named.ino && held.dev === named.dev;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}
