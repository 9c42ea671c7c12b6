/**
 * Runs a helper program to its end, without input, keeping only what it says on stderr, and of that only the end.
 *
 * @module
 */
import { errnoOf } from "./errno.ts";
import { discard, spawnWithoutInput, unread } from "./no_input.ts";

const KEPT_BYTES = 65_536;

/** How a helper ended; `missing` means that it could not be started because it is not there. */
export type ToolEnd =
  | { readonly kind: "exit"; readonly code: number; readonly stderr: string }
  | { readonly kind: "signal"; readonly signal: string; readonly stderr: string }
  | { readonly kind: "missing" };

/** Runs `argv`; SIGKILL on abort, as a helper that only reads has nothing to tidy up. */
export async function runTool(
  argv: readonly string[],
  { signal, env = {} }: { signal: AbortSignal; env?: Readonly<Record<string, string>> },
): Promise<ToolEnd> {
  signal.throwIfAborted();
  const stdout = unread();
  let child: Deno.ChildProcess;
  try {
    child = spawnWithoutInput(argv[0]!, {
      args: argv.slice(1),
      stdout,
      stderr: "piped",
      env: { LC_ALL: "C", ...env },
    });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return { kind: "missing" };
    throw error;
  }
  const kill = () => {
    try {
      child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended meanwhile
    }
  };
  signal.addEventListener("abort", kill);
  try {
    const [stderr] = await Promise.all([
      tail(child.stderr),
      stdout === "piped" ? discard(child.stdout) : undefined,
    ]);
    const status = await child.status;
    signal.throwIfAborted();
    return status.signal === null
      ? { kind: "exit", code: status.code, stderr }
      : { kind: "signal", signal: status.signal, stderr };
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

async function tail(stream: ReadableStream<Uint8Array>): Promise<string> {
  let kept = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    kept = (kept + decoder.decode(chunk, { stream: true })).slice(-KEPT_BYTES);
  }
  return kept;
}
