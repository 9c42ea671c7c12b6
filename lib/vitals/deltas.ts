/**
 * Turns counters into what they did since the previous sample. A counter that was not read in the sample before has
 * no delta: it would stand for more than one interval.
 *
 * @module
 */
import { type Counter, counterDelta } from "../host/procfs.ts";
import type { Sample, SampleKey } from "./keys.ts";

/** Remembers the counters of one sample for the next. */
export class Deltas {
  #previous = new Map<SampleKey, Counter>();
  #current = new Map<SampleKey, Counter>();

  /** Puts the delta of `key` into `sample`, when there is one. `divisor` turns the counter's unit into the key's. */
  put(sample: Sample, key: SampleKey, counter: Counter | undefined, divisor = 1): void {
    if (counter === undefined) return;
    this.#current.set(key, counter);
    const before = this.#previous.get(key);
    const delta = before === undefined ? undefined : counterDelta(before, counter);
    if (delta !== undefined) sample.set(key, Math.round(delta / divisor));
  }

  /** Ends a sample. */
  turn(): void {
    [this.#previous, this.#current] = [this.#current, this.#previous];
    this.#current.clear();
  }
}
