/**
 * A whole run in a bounded number of samples: every one, then every second, every fourth …
 *
 * @module
 */
import type { LogRecord } from "./record.ts";

/** See the module's description. */
export class Overview {
  static readonly limit = 1_024;
  stride = 1;
  #count = 0;
  #kept: LogRecord[] = [];

  add(record: LogRecord): void {
    if (this.#count++ % this.stride !== 0) return;
    this.#kept.push(record);
    if (this.#kept.length < Overview.limit * 2) return;
    this.#kept = this.records().filter((_, index) => index % 2 === 0);
    this.stride *= 2;
  }

  dropFrom(tsMs: number): void {
    this.#kept = this.#kept.filter((record) => record.tsMs < tsMs);
  }

  /** In order of time. */
  records(): LogRecord[] {
    return this.#kept.toSorted((a, b) => a.tsMs - b.tsMs);
  }
}
