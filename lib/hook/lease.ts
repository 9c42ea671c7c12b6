/**
 * Ends a job that nobody waits for any more: without contact for a while its client is gone for good.
 *
 * @module
 */

/** How long, and what happens then. */
export interface LeaseOptions {
  /** 0 = for ever. */
  readonly leaseMs: number;
  readonly onLost: () => void;
}

/** Looks at least this often, or a tenth of the lease. */
const LOOK_MS = 10_000;
const LOOK_MIN_MS = 20;

/** Knows when a client was last heard. */
export class Lease implements Disposable {
  readonly #leaseMs: number;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #heardMs = performance.now();
  #open = 0;

  constructor({ leaseMs, onLost }: LeaseOptions) {
    this.#leaseMs = leaseMs;
    if (leaseMs === 0) return;
    const everyMs = Math.max(LOOK_MIN_MS, Math.min(LOOK_MS, leaseMs / 10));
    let lookedMs = performance.now();
    this.#timer = setInterval(() => {
      const lateMs = performance.now() - lookedMs - everyMs;
      lookedMs = performance.now();
      // We were stopped, or the machine was: no client could be heard meanwhile.
      if (lateMs > everyMs) this.#heardMs += lateMs;
      if (this.isLost) onLost();
    }, everyMs);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** No stream is open, and no request came for the whole lease. */
  get isLost(): boolean {
    return this.#leaseMs > 0 && this.#open === 0 && performance.now() - this.#heardMs > this.#leaseMs;
  }

  /** A client was heard. */
  contact(): void {
    this.#heardMs = performance.now();
  }

  /** A stream is open until the returned function is called. */
  open(): () => void {
    this.#open++;
    this.contact();
    return () => {
      this.#open--;
      this.contact();
    };
  }
}
