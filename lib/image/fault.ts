/**
 * Faults of a registry or the way to it that another try may cure, and the patience for them: exponential backoff
 * with jitter, Retry-After, a bounded number of tries.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { Activity } from "../host/activity.ts";
import { nextDelayMs, sleep } from "../host/backoff.ts";
import type { Log } from "../host/log.ts";
import { formatDuration } from "../units.ts";

/** Something that may be gone at the next try: a cut, a stall, 429, 503. The message is safe to show. */
export class TransientFault extends Error {
  override readonly name = "TransientFault";
  readonly retryAfterMs: number | undefined;
  /** False when nothing answered at all. */
  readonly wasConnected: boolean;

  constructor(
    message: string,
    { retryAfterMs, wasConnected = true, cause }: {
      retryAfterMs?: number | undefined;
      wasConnected?: boolean;
      cause?: unknown;
    } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.retryAfterMs = retryAfterMs;
    this.wasConnected = wasConnected;
  }
}

/** How often, and how patiently, something is tried again. */
export interface RetryOptions {
  /** Tries after the first. */
  readonly retries: number;
  /** First and longest wait. */
  readonly backoff?: { readonly baseMs: number; readonly capMs: number };
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Shows others that a wait is not a standstill. */
  readonly activity?: Activity;
}

const BACKOFF = { baseMs: 5_000, capMs: 300_000 };

/** Counts the faults of one piece of work and waits between its tries. */
export class Patience {
  readonly #what: string;
  readonly #options: RetryOptions;
  #faults = 0;
  #wasConnected = false;

  /** `what` completes "Cannot …" in the failure at the end: `fetch "nvcr.io/a/b:1"`. */
  constructor(what: string, options: RetryOptions) {
    this.#what = what;
    this.#options = options;
  }

  /** Waits before the next try; throws `fault` itself when it is no TransientFault, a Failure when tries are used up. */
  async wait(fault: unknown): Promise<void> {
    const { retries, backoff = BACKOFF, signal, log, activity } = this.#options;
    signal.throwIfAborted();
    if (!(fault instanceof TransientFault)) throw fault;
    this.#faults++;
    this.#wasConnected ||= fault.wasConnected;
    const { retryAfterMs = 0, message } = fault;
    if (this.#faults > retries || retryAfterMs > backoff.capMs) throw this.#givenUp(fault, retryAfterMs);
    const waitMs = nextDelayMs(this.#faults, { ...backoff, retryAfterMs });
    log.warn(`cannot ${this.#what}, trying again`, {
      reason: message,
      fault: this.#faults,
      retries,
      wait_ms: waitMs,
    });
    const waited = sleep(waitMs, signal);
    await (activity?.ticking(waitMs, waited) ?? waited);
  }

  /** Forgets earlier faults: the work moved on. */
  reset(): void {
    this.#faults = 0;
  }

  #givenUp(fault: TransientFault, retryAfterMs: number): Failure {
    const tries = this.#faults === 1 ? "1 try" : `${this.#faults} tries`;
    const asked = retryAfterMs > 0 ? `, asked to come back in ${formatDuration(retryAfterMs)}` : "";
    const message = `Cannot ${this.#what}: ${fault.message} (after ${tries}${asked})`;
    return this.#wasConnected
      ? new Failure("TEMPFAIL", message, {
        code: "registry_transient",
        hint: "try again later; --retries gives it more tries",
        cause: fault,
      })
      : new Failure("UNAVAILABLE", message, {
        code: "registry_unreachable",
        hint: "check the registry's name and port, and that this host reaches it",
        cause: fault,
      });
  }
}

/** Runs `attempt` until it succeeds, with patience for transient faults. */
export async function withRetries<T>(
  what: string,
  options: RetryOptions,
  attempt: () => Promise<T>,
): Promise<T> {
  const patience = new Patience(what, options);
  while (true) {
    try {
      return await attempt();
    } catch (error) {
      await patience.wait(error);
    }
  }
}
