/**
 * The token that a hook server wants to be shown, from where no job can read it again.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";

const SIZE_LIMIT_BYTES = 4_096;
const READABLE_BY_OTHERS = 0o004;

/** Reads the token in the file at `path`; with `unlinks` nobody else can read it afterwards. */
export function readTokenFile(path: string, { unlinks }: { unlinks: boolean }): string {
  let text: string;
  try {
    using file = Deno.openSync(path);
    const { mode, isFile } = file.statSync();
    // Whoever reads it can run commands as our user.
    if (isFile && ((mode ?? 0) & READABLE_BY_OTHERS) !== 0) throw openToAll(path);
    text = readText(file);
    if (unlinks) Deno.removeSync(path);
  } catch (error) {
    throw error instanceof Failure ? error : unreadable(`token file "${path}"`, error);
  }
  return checked(text, `token file "${path}"`);
}

/** Reads the token from a descriptor that we were started with, and closes it: jobs would inherit it. */
export function readTokenDescriptor(number: number): string {
  let text: string;
  try {
    text = number === 0 ? readText(Deno.stdin) : readBorn(number);
  } catch (error) {
    throw unreadable(`descriptor ${number}`, error);
  }
  return checked(text, `descriptor ${number}`);
}

/** Checks a token that came some other way. */
export function checkToken(text: string): string {
  return checked(text, "--token");
}

function readText(from: { readSync(bytes: Uint8Array): number | null }): string {
  const bytes = new Uint8Array(SIZE_LIMIT_BYTES + 1);
  let count = 0;
  while (count < bytes.length) {
    const got = from.readSync(bytes.subarray(count));
    if (got === null || got === 0) break;
    count += got;
  }
  return new TextDecoder().decode(bytes.subarray(0, count));
}

function checked(text: string, what: string): string {
  const token = text.trim();
  if (/^[\x21-\x7e]{1,4096}$/.test(token)) return token;
  throw new Failure("DATAERR", `Cannot use ${what}: ${token === "" ? "it is empty" : "it holds no token"}`, {
    code: "bad_token_file",
    hint: "a token is one word of printable characters, such as `openssl rand -hex 32` makes",
  });
}

function openToAll(path: string): Failure {
  return new Failure("NOPERM", `Cannot use token file "${path}": every user can read it`, {
    code: "open_token_file",
    hint: `write a new token into a file of mode 600`,
  });
}

function unreadable(what: string, error: unknown): Failure {
  const errno = errnoOf(error);
  const isMissing = errno === "ENOENT" || errno === "EBADF";
  const exit = isMissing ? "NOINPUT" : errno === "EACCES" ? "NOPERM" : "IOERR";
  return new Failure(exit, `Cannot read ${what}: ${isMissing ? "there is none" : messageOf(error)}`, {
    code: "token_file",
    hint: "`umask 077; openssl rand -hex 32 >FILE` makes one",
    cause: error,
  });
}

/**
 * Reads a descriptor that we were born with, and closes it. Deno's own files have handles, not numbers; opening it
 * anew by /proc/self/fd wants rights that whoever opened it for us may have had alone.
 */
function readBorn(number: number): string {
  const libc = Deno.dlopen("libc.so.6", {
    close: { parameters: ["i32"], result: "i32" },
    read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  });
  try {
    return readText({
      readSync(bytes) {
        const count = Number(
          libc.symbols.read(number, bytes as Uint8Array<ArrayBuffer>, BigInt(bytes.length)),
        );
        if (count < 0) throw new Deno.errors.BadResource("it is not open for reading (os error 9)");
        return count;
      },
    });
  } finally {
    libc.symbols.close(number);
    libc.close();
  }
}
