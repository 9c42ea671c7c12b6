/**
 * How long to wait before trying again: exponential backoff with full jitter, so that many clients which failed
 * together do not come back together; a server's Retry-After (RFC 9110, section 10.2.3) is a lower bound.
 *
 * @module
 */

/** Bounds of the wait, in milliseconds. */
export interface Backoff {
  /** Upper bound of the first wait; it doubles with each attempt. */
  readonly baseMs: number;
  /** No wait is longer, whatever the server asks for. */
  readonly capMs: number;
  readonly retryAfterMs?: number | undefined;
  /** 0 ≤ random < 1. */
  readonly random?: () => number;
}

/** Milliseconds to wait after failed attempt number `attempt`, counted from 1. */
export function nextDelayMs(attempt: number, backoff: Backoff): number {
  const { baseMs, capMs, retryAfterMs = 0, random = Math.random } = backoff;
  const spread = random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt - 1, 32));
  // On top of what the server asks, or all would return in the same moment.
  return Math.min(capMs, Math.round(retryAfterMs + spread));
}

/** Milliseconds that a Retry-After header asks for (seconds or a date), or undefined when it makes no sense. */
export function parseRetryAfter(header: string | null, nowMs: number = Date.now()): number | undefined {
  if (header === null) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(header)) return Number(header) * 1000;
  // Date.parse reads almost anything; an HTTP date begins with a weekday.
  const atMs = /^\s*[A-Z][a-z]{2,8},? /.test(header) ? Date.parse(header) : NaN;
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}

/** Resolves after `ms`, or rejects with the signal's reason. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
