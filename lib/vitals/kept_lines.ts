/**
 * The newest lines of a probe, as bytes in buffers that are used again and again. Kept as strings they die old: V8
 * moves each to the part of the heap that it cleans last, and the process swings between 24 and 31 MB instead of
 * staying at 24 (40,000 samples of testdata/run_vitals_fast.ts).
 *
 * @module
 */

/** Longer lines than the last one in the same buffer are common: counters grow. */
const SLACK_BYTES = 128;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A ring of lines. */
export class KeptLines {
  readonly #limit: number;
  readonly #buffers: Uint8Array<ArrayBuffer>[];
  readonly #lengths: number[] = [];
  #next = 0;

  constructor(limit: number) {
    this.#limit = limit;
    this.#buffers = Array.from({ length: limit }, () => new Uint8Array());
  }

  /** Takes a line; the oldest gives way. */
  push(line: string): void {
    const at = this.#next++ % this.#limit;
    const { read, written } = encoder.encodeInto(line, this.#buffers[at]!);
    this.#lengths[at] = written;
    if (read === line.length) return;
    const bytes = encoder.encode(line);
    this.#buffers[at] = new Uint8Array(bytes.length + SLACK_BYTES);
    this.#buffers[at].set(bytes);
    this.#lengths[at] = bytes.length;
  }

  /** Oldest first. */
  *[Symbol.iterator](): Generator<string> {
    for (let index = Math.max(0, this.#next - this.#limit); index < this.#next; index++) {
      const at = index % this.#limit;
      yield decoder.decode(this.#buffers[at]!.subarray(0, this.#lengths[at]));
    }
  }
}
