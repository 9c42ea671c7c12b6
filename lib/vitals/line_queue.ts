/**
 * Hands lines to a writer that may be slow, stalled, full or gone, without ever making the caller wait: the newest
 * lines are kept, older ones are counted as lost, and the writer is tried again for as long as the process lives.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";

/**
 * Writes one line, now or later. `lost` lines right before it were dropped. What
 * it throws or rejects with is told by its errno; EAGAIN means that the reader is only slow.
 */
export type LineWriter = (line: string, lost: number) => void | Promise<void>;

/** What became of the channel; told once per change. `lost` counts since the start. */
export type QueueState =
  | { readonly kind: "back"; readonly lost: number }
  | { readonly kind: "lost"; readonly errno: string; readonly lost: number };

/** Bounds of a queue. */
export interface QueueOptions {
  /** Lines kept while nothing can be written; 2 at least. */
  readonly capacity?: number;
  /** Wait before the next try after EAGAIN; doubles up to `slowRetryMs`. */
  readonly fastRetryMs?: number;
  /** Wait before the next try after any other error, and the bound of the doubling. */
  readonly slowRetryMs?: number;
  readonly onState?: (state: QueueState) => void;
}

/** See the module's description. */
export class LineQueue {
  readonly #write: LineWriter;
  readonly #options: Required<QueueOptions>;
  /** Each with the number of lines that were dropped right before it. */
  readonly #lines: { readonly line: string; lost: number }[] = [];
  #isWriting = false;
  /** The first line may be half written: it stays. */
  #isTried = false;
  #isLost = false;
  /** Drained, and nothing pushed since: no more tries. */
  #isAtRest = false;
  #allLost = 0;
  #retryMs: number;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #idle: (() => void)[] = [];

  constructor(write: LineWriter, options: QueueOptions = {}) {
    this.#write = write;
    this.#options = { capacity: 256, fastRetryMs: 50, slowRetryMs: 2_000, onState() {}, ...options };
    this.#retryMs = this.#options.fastRetryMs;
  }

  /** Lines dropped since the start. */
  get lost(): number {
    return this.#allLost;
  }

  /** Writes `line`, which ends with a newline, or keeps it for later. */
  push(line: string): void {
    this.#isAtRest = false;
    this.#lines.push({ line, lost: 0 });
    if (this.#lines.length > this.#options.capacity) {
      const at = this.#isTried ? 1 : 0;
      const [dropped] = this.#lines.splice(at, 1);
      this.#lines[at]!.lost += 1 + dropped!.lost;
      this.#allLost++;
    }
    if (this.#retryTimer === undefined) this.#pump();
  }

  /**
   * Tries once more, and resolves when all is written or `deadlineMs` is over, and tells which. Then it rests until
   * the next line: a write that is under way may still end, and is not tried again.
   */
  async drain(deadlineMs: number): Promise<boolean> {
    this.#stopTimer();
    this.#isAtRest = false;
    this.#retryMs = this.#options.fastRetryMs;
    this.#pump();
    if (this.#lines.length === 0) return true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    const timer = setTimeout(resolve, deadlineMs);
    await promise;
    clearTimeout(timer);
    this.#stopTimer();
    this.#isAtRest = true;
    return this.#lines.length === 0;
  }

  #pump(): void {
    while (!this.#isWriting && this.#lines.length > 0) {
      const { line, lost } = this.#lines[0]!;
      this.#isTried = true;
      try {
        const pending = this.#write(line, lost);
        if (pending === undefined) {
          this.#onWritten();
          continue;
        }
        this.#isWriting = true;
        pending.then(() => {
          this.#isWriting = false;
          this.#onWritten();
          this.#pump();
        }, (error) => {
          this.#isWriting = false;
          this.#onError(error);
        });
        return;
      } catch (error) {
        return this.#onError(error);
      }
    }
    if (this.#lines.length > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #onWritten(): void {
    this.#lines.shift();
    this.#isTried = false;
    this.#retryMs = this.#options.fastRetryMs;
    if (!this.#isLost) return;
    this.#isLost = false;
    this.#options.onState({ kind: "back", lost: this.#allLost });
  }

  #onError(error: unknown): void {
    // Whatever it is, the caller goes on: what has no errno is told by its name.
    const errno = errnoOf(error) ?? (error instanceof Error ? error.name : String(error));
    const isSlow = errno === "EAGAIN";
    this.#retryMs = isSlow
      ? Math.min(this.#retryMs * 2, this.#options.slowRetryMs)
      : this.#options.slowRetryMs;
    this.#stopTimer();
    if (!this.#isAtRest) this.#retryLater();
    if (this.#isLost || isSlow) return;
    this.#isLost = true;
    this.#options.onState({ kind: "lost", errno, lost: this.#allLost });
  }

  #retryLater(): void {
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.#pump();
    }, this.#retryMs);
  }

  #stopTimer(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
  }
}
