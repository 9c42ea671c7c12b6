/**
 * A deadline that does not count the time in which we were stopped ourselves: after SIGSTOP, a frozen container or a
 * suspended machine every timer is over at once, before anybody had a chance to answer.
 *
 * @module
 */

/** A timer this late was not late by load alone. */
const STOPPED_MS = 500;
/** A machine so starved that each timer is late must still come to an end. */
const ROUNDS_LIMIT = 3;

/** Begins now; disposing it ends it. */
export class Deadline implements Disposable {
  /** Resolves when the time is over. */
  readonly reached: Promise<"late">;
  readonly #resolve: (value: "late") => void;
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #rounds = 0;

  constructor(ms: number) {
    this.#ms = ms;
    const { promise, resolve } = Promise.withResolvers<"late">();
    this.reached = promise;
    this.#resolve = resolve;
    this.#arm();
  }

  #arm(): void {
    const dueMs = performance.now() + this.#ms;
    this.#timer = setTimeout(() => {
      const wasStopped = performance.now() - dueMs > STOPPED_MS;
      if (wasStopped && ++this.#rounds < ROUNDS_LIMIT) this.#arm();
      else this.#resolve("late");
    }, this.#ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
