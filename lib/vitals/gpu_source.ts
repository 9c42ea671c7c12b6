/**
 * Asks one vendor's GPUs with a deadline, and not again while an attempt hangs.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import { Deadline } from "./deadline.ts";
import type { GpuReport, GpuVendor } from "./gpu_report.ts";
import { HangGuard, type HangWaits } from "./hang_guard.ts";

/**
 * Reads the GPUs. When `signal` aborts it kills what it has started; it settles only when nothing of it is left.
 * undefined: there are none of this vendor.
 */
export type ReadGpus = (signal: AbortSignal) => Promise<Omit<GpuReport, "vendor"> | undefined>;

/** One vendor's GPUs, guarded. */
export class GpuSource {
  readonly #vendor: GpuVendor;
  readonly #read: ReadGpus;
  readonly #deadlineMs: number;
  readonly #guard: HangGuard;

  constructor(
    vendor: GpuVendor,
    read: ReadGpus,
    { deadlineMs, waits }: { deadlineMs: number; waits: HangWaits },
  ) {
    this.#vendor = vendor;
    this.#read = read;
    this.#deadlineMs = deadlineMs;
    this.#guard = new HangGuard(waits);
  }

  /** Settles within the deadline, at once while the last attempt hangs or waits for its turn. */
  async ask(): Promise<GpuReport | undefined> {
    const vendor = this.#vendor;
    if (!this.#guard.mayTry(performance.now())) return { vendor, state: "hung", gpus: [] };
    const abort = new AbortController();
    const reading = this.#read(abort.signal);
    using deadline = new Deadline(this.#deadlineMs);
    try {
      const report = await Promise.race([reading, deadline.reached]);
      if (report !== "late") {
        this.#guard.answered();
        return report && { vendor, ...report };
      }
    } catch (error) {
      this.#guard.answered();
      return { vendor, state: "error", detail: messageOf(error), gpus: [] };
    }
    abort.abort();
    this.#guard.hung(reading, performance.now());
    return { vendor, state: "hung", detail: `no answer within ${this.#deadlineMs} ms`, gpus: [] };
  }
}
