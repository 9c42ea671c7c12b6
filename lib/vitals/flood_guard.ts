/**
 * Keeps floods of kernel lines out of the vitals: the same thing again within a minute is only counted, and things
 * that differ are let through by a token bucket. What was held back is told with the next line that passes.
 *
 * @module
 */

/** What was held back and is now told. */
export interface Held {
  /** How often the same thing came again. */
  readonly repeats: number;
  /** How many other things found the bucket empty. */
  readonly dropped: number;
}

const SAME_MS = 60_000;
const KNOWN_LIMIT = 256;

/** So many at once, so many a second in the long run. Times are of a monotonic clock, in milliseconds. */
export class TokenBucket {
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #filledMs = 0;
  #dropped = 0;

  constructor({ burst, perSecond }: { burst: number; perSecond: number }) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
  }

  /** Whether there is a token; a refusal is counted. */
  take(nowMs: number): boolean {
    const gained = Math.max(0, nowMs - this.#filledMs) / 1_000 * this.#perSecond;
    this.#tokens = Math.min(this.#burst, this.#tokens + gained);
    this.#filledMs = nowMs;
    if (this.#tokens < 1) {
      this.#dropped++;
      return false;
    }
    this.#tokens--;
    return true;
  }

  /** Refusals since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}

/** Lets a thing pass once a minute, and no more of different things than a bucket has. */
export class FloodGuard {
  readonly #known = new Map<string, { readonly sinceMs: number; repeats: number }>();
  readonly #bucket = new TokenBucket({ burst: 20, perSecond: 2 });
  /** Repeats of things that had to be forgotten. */
  #forgotten = 0;

  /** What was held back before, when `key` may pass now; else undefined. */
  admit(key: string, nowMs: number): Held | undefined {
    const known = this.#known.get(key);
    if (known !== undefined && nowMs - known.sinceMs < SAME_MS) {
      known.repeats++;
      return undefined;
    }
    if (!this.#bucket.take(nowMs)) return undefined;
    this.#known.delete(key); // so that the order of the map is that of time
    this.#known.set(key, { sinceMs: nowMs, repeats: 0 });
    if (this.#known.size > KNOWN_LIMIT) this.#forgetOldest();
    return { repeats: known?.repeats ?? 0, dropped: this.#bucket.takeDropped() };
  }

  /** How much was held back and is not told yet; forgets it. */
  takeHeld(): number {
    while (this.#known.size > 0) this.#forgetOldest();
    const held = this.#forgotten + this.#bucket.takeDropped();
    this.#forgotten = 0;
    return held;
  }

  #forgetOldest(): void {
    const [key, { repeats }] = this.#known.entries().next().value!;
    this.#known.delete(key);
    this.#forgotten += repeats;
  }
}
