/**
 * Finds programs on PATH and runs them for their answer, such that no dead mount, no hung driver and no
 * grandchild can hold us: starting a program blocks until the kernel has read its first page, and a
 * process in an uninterruptible wait cannot be killed (nvidia-smi on a broken GPU), so it is left behind.
 *
 * @module
 */
import { errnoOf } from "../errno.ts";
import { spawnWithoutInput } from "../no_input.ts";
import type { ProgramStart } from "../self.ts";

const KEPT_CHARS = 8_192;
const X_BITS = 0o111;

/** What became of a program. */
export type ProgramEnd =
  | { readonly kind: "exit"; readonly code: number; readonly text: string }
  | { readonly kind: "signal"; readonly signal: string; readonly text: string }
  | { readonly kind: "hung" }
  /** It is not to be had: absent, not executable, or its own loader or interpreter is absent. */
  | { readonly kind: "unusable"; readonly errno: string };

/** The path of `name` on the search path of `env`, or undefined. */
export async function findProgram(
  name: string,
  env: Readonly<Record<string, string>>,
): Promise<string | undefined> {
  for (const directory of (env.PATH ?? "").split(":").filter(Boolean)) {
    const path = `${directory}/${name}`;
    try {
      const { isFile, mode } = await Deno.stat(path);
      if (isFile && ((mode ?? 0) & X_BITS) !== 0) return path;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error; // not here, or not for us: the next directory
    }
  }
  return undefined;
}

/**
 * Runs `start` with `args` to its end or the abort of `signal`; `text` is what it printed on both
 * channels.
 */
export async function runProgram(
  { argv: [program, ...first], env: own }: ProgramStart,
  args: readonly string[],
  { env, signal }: { env: Readonly<Record<string, string>>; signal: AbortSignal },
): Promise<ProgramEnd> {
  if (!await isWithinReach(program, signal)) return { kind: "hung" };
  let child: Deno.ChildProcess;
  try {
    child = spawnWithoutInput(program, {
      args: [...first, ...args],
      clearEnv: true,
      env: { ...env, LC_ALL: "C", ...own },
      stdout: "piped",
      stderr: "piped",
      detached: true,
    });
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    return { kind: "unusable", errno };
  }
  const texts = [tailOf(child.stdout, signal), tailOf(child.stderr, signal)];
  const ended = Promise.all([statusOf(child), ...texts]);
  const hung = await Promise.race([ended.then(() => false), abortOf(signal)]);
  if (hung) {
    killGroup(child.pid);
    child.unref();
    ended.catch(() => {}); // nobody waits for it any more
    return { kind: "hung" };
  }
  const [{ code, signal: killer }, ...said] = await ended;
  const text = said.join("").trim();
  return killer === null ? { kind: "exit", code, text } : { kind: "signal", signal: killer, text };
}

/**
 * Whether the file's first page can be read; what may not be read, or is not there, is told by starting
 * it.
 */
async function isWithinReach(path: string, signal: AbortSignal): Promise<boolean> {
  const readable = (async () => {
    try {
      using file = await Deno.open(path);
      await file.read(new Uint8Array(4_096));
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
    }
    return true;
  })();
  return await Promise.race([readable, abortOf(signal).then(() => false)]);
}

/** Resolves with true when `signal` aborts. */
function abortOf(signal: AbortSignal): Promise<true> {
  if (signal.aborted) return Promise.resolve(true);
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(true), { once: true }));
}

async function statusOf(child: Deno.ChildProcess): Promise<{ code: number; signal: string | null }> {
  try {
    const { code, signal } = await child.status;
    return { code, signal };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // a real-time signal has no name in Deno
    return { code: 128, signal: "a real-time signal" };
  }
}

function killGroup(pid: number): void {
  try {
    Deno.kill(-pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error; // it went by itself
  }
}

/** The end of what a program says; a grandchild may keep the pipe open, so the abort ends it too. */
async function tailOf(stream: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<string> {
  const reader = stream.getReader();
  const cancel = () => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", cancel, { once: true });
  const decoder = new TextDecoder();
  let kept = "";
  for (;;) {
    const { value, done } = await reader.read();
    kept = (kept + decoder.decode(value, { stream: !done })).slice(-KEPT_CHARS);
    if (done) break;
  }
  signal.removeEventListener("abort", cancel);
  return kept;
}
