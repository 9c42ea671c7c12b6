/**
 * Keeps the newest records of however many, in order of time, whatever order they come in: exports of Loki begin with
 * the newest line.
 *
 * @module
 */
import type { LogRecord } from "./record.ts";

/** See the module's description. */
export class Newest {
  #records: LogRecord[] = [];
  readonly limit: number;
  /** There were more than are kept. */
  hasForgotten = false;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** False when the very same line is there already. */
  add(record: LogRecord): boolean {
    const records = this.#records;
    const { tsMs } = record;
    let at = records.length;
    if (at > 0 && records[at - 1]!.tsMs > tsMs) {
      if (at >= this.limit && records[at - this.limit]!.tsMs > tsMs) {
        this.hasForgotten = true;
        return true;
      }
      at = firstAfter(records, tsMs);
    }
    for (let twin = at - 1; twin >= 0 && records[twin]!.tsMs === tsMs; twin--) {
      if (records[twin]!.text === record.text) return false;
    }
    if (at === records.length) records.push(record);
    else records.splice(at, 0, record);
    // Cut in strides: a cut of every record would move the whole array each time.
    if (records.length >= this.limit * 2) records.splice(0, records.length - this.limit);
    if (records.length > this.limit) this.hasForgotten = true;
    return true;
  }

  /** Takes out, and returns, what is not before `tsMs`. */
  takeFrom(tsMs: number): LogRecord[] {
    return this.#records.splice(firstAfter(this.#records, tsMs - 1));
  }

  get records(): readonly LogRecord[] {
    return this.#records.slice(-this.limit);
  }

  get oldest(): LogRecord | undefined {
    return this.#records[0];
  }

  get newest(): LogRecord | undefined {
    return this.#records.at(-1);
  }
}

/** The first place whose record is later than `tsMs`. */
function firstAfter(records: readonly LogRecord[], tsMs: number): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (records[middle]!.tsMs <= tsMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
