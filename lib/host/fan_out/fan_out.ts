/**
 * One function on many hosts: so many at once, and a deadline for each that knows nothing of the others.
 *
 * @module
 */
import { Failure } from "../../failure.ts";

/** What came of one host. */
export type Outcome<T> =
  | { readonly host: string; readonly kind: "done"; readonly value: T }
  | { readonly host: string; readonly kind: "failed"; readonly error: unknown };

/** How the hosts are gone through. */
export interface FanOutOptions<T> {
  /** At once; 32. */
  readonly parallelism?: number | undefined;
  /** For one host, from its turn on; undefined = no bound. */
  readonly timeoutMs?: number | undefined;
  /** Ends all; hosts that had no turn fail with its reason. */
  readonly signal: AbortSignal;
  /** As soon as a host is through, in whatever order. */
  readonly onSettled?: ((outcome: Outcome<T>) => void) | undefined;
}

/** Hosts at once: what ssh's default MaxStartups of a jump host lets in with a retry, and 32 pipes. */
export const PARALLELISM = 32;
/** For an aborted host to end in order; then its turn is over all the same. */
const ABORT_GRACE_MS = 10_000;

/** Outcomes in the order of `hosts`. Rejects only with what `onSettled` throws. */
export async function fanOut<T>(
  hosts: readonly string[],
  work: (host: string, signal: AbortSignal) => Promise<T>,
  options: FanOutOptions<T>,
): Promise<Outcome<T>[]> {
  const { parallelism = PARALLELISM, signal, onSettled } = options;
  const outcomes: Outcome<T>[] = [];
  const turns = hosts.entries(); // shared by all workers
  async function takeTurns(): Promise<void> {
    for (const [index, host] of turns) {
      const outcome = signal.aborted
        ? { host, kind: "failed", error: signal.reason } as const
        : await doOne(host, work, options);
      outcomes[index] = outcome;
      onSettled?.(outcome);
    }
  }
  await Promise.all(Array.from({ length: Math.min(parallelism, hosts.length) }, takeTurns));
  return outcomes;
}

async function doOne<T>(
  host: string,
  work: (host: string, signal: AbortSignal) => Promise<T>,
  { timeoutMs, signal }: FanOutOptions<T>,
): Promise<Outcome<T>> {
  const deadline = new AbortController();
  const timer = timeoutMs === undefined
    ? undefined
    : setTimeout(() => deadline.abort(tooLate(host, timeoutMs)), timeoutMs);
  const either = AbortSignal.any([signal, deadline.signal]);
  const { promise: late, reject: giveUp } = Promise.withResolvers<never>();
  let graceTimer: ReturnType<typeof setTimeout> | undefined;
  const onAbort = () => graceTimer = setTimeout(() => giveUp(either.reason), ABORT_GRACE_MS);
  either.addEventListener("abort", onAbort);
  try {
    return { host, kind: "done", value: await Promise.race([work(host, either), late]) };
  } catch (error) {
    return { host, kind: "failed", error };
  } finally {
    clearTimeout(timer);
    clearTimeout(graceTimer);
    either.removeEventListener("abort", onAbort);
  }
}

function tooLate(host: string, timeoutMs: number): Failure {
  return new Failure(124, `Cannot wait for "${host}" any longer: ${timeoutMs} ms are over`, {
    code: "timeout",
  });
}
