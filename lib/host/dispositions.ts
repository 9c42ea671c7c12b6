/**
 * Signals that this process was told to ignore, as SIGHUP under nohup(1), so that what it starts ignores them too:
 * a signal listener replaces "ignore", and a handled signal is back at its default after exec(2).
 *
 * @module
 */
import { libc } from "./libc.ts";

const SIG_IGN = 1n;
/** struct sigaction has 152 bytes on x86-64 and Arm. */
const SIGACTION_BYTES = 256;

/** Deno ignores it for itself and not for its children; what held before cannot be told any more. */
const SIGPIPE = 13;
const LAST_SIGNAL = 31;

/** Numbers of the signals that are ignored now, SIGPIPE left out; none where /proc cannot tell. */
export function ignoredSignals({ proc = "/proc" }: { proc?: string } = {}): Set<number> {
  try {
    const status = Deno.readTextFileSync(`${proc}/self/status`);
    const mask = BigInt(`0x${/^SigIgn:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
    const numbers = Array.from({ length: LAST_SIGNAL }, (_, index) => index + 1);
    return new Set(numbers.filter((number) => number !== SIGPIPE && (mask >> BigInt(number - 1)) & 1n));
  } catch {
    return new Set(); // nothing can be known, and a default is what most programs start with
  }
}

/** What `action` returns, done while the signals in `numbers` are ignored: a child started in it ignores them. */
export function whileIgnoring<T>(numbers: ReadonlySet<number>, action: () => T): T {
  const { sigaction, signal } = libc() ?? {};
  if (numbers.size === 0 || sigaction === undefined || signal === undefined) return action();
  const saved = [...numbers].map((number) => {
    const old = new Uint8Array(SIGACTION_BYTES);
    sigaction(number, null, old);
    signal(number, SIG_IGN);
    return [number, old] as const;
  });
  try {
    return action();
  } finally {
    for (const [number, old] of saved) sigaction(number, old, null);
  }
}
