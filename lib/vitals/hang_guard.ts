/**
 * Decides when something that hung may be tried again: not before the hung attempt itself is gone, which a process in
 * an uninterruptible wait may never be, and each new one would only wait beside it; then after a wait that doubles.
 *
 * @module
 */

/** Waits after a hang, in milliseconds. */
export interface HangWaits {
  readonly firstMs: number;
  readonly capMs: number;
}

/** Half a minute, then up to five. */
export const HANG_WAITS: HangWaits = { firstMs: 30_000, capMs: 300_000 };

/** The state of one thing that may hang; times are of a monotonic clock. */
export class HangGuard {
  readonly #waits: HangWaits;
  #hangs = 0;
  #retryMs = -Infinity;
  #isGone = true;

  constructor(waits: HangWaits = HANG_WAITS) {
    this.#waits = waits;
  }

  /** Whether an attempt may be made now. */
  mayTry(nowMs: number): boolean {
    return this.#isGone && nowMs >= this.#retryMs;
  }

  /** An attempt hung; `gone` settles when nothing is left of it. */
  hung(gone: Promise<unknown>, nowMs: number): void {
    const { firstMs, capMs } = this.#waits;
    this.#retryMs = nowMs + Math.min(capMs, firstMs * 2 ** Math.min(this.#hangs++, 30));
    this.#isGone = false;
    const settle = () => {
      this.#isGone = true;
    };
    gone.then(settle, settle);
  }

  /** An attempt was answered. */
  answered(): void {
    this.#hangs = 0;
    this.#retryMs = -Infinity;
  }
}
