/**
 * Kernel logs for tests that no real one can be brought to: devices that answer as told.
 *
 * @module
 */
import type { KmsgDevice } from "../lib/host/kmsg_device.ts";

/** A record's text, or the errno (or 0, the end) that a read gives; "EAGAIN" stands between batches. */
export type Answer = { readonly record: string } | string | 0;

/** A device that gives `answers` one a read, then EAGAIN until more are added. */
export class FakeKmsg implements KmsgDevice {
  readonly #answers: Answer[];
  #wake = Promise.withResolvers<void>();
  isClosed = false;
  reads = 0;

  constructor(answers: Iterable<Answer> = []) {
    this.#answers = [...answers];
  }

  add(...answers: Answer[]): void {
    this.#answers.push(...answers);
    this.#wake.resolve();
  }

  /** Resolves when all that was added has been read. */
  async drained(): Promise<void> {
    while (this.#answers.length > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }

  read(buffer: Uint8Array<ArrayBuffer>): number | string {
    this.reads++;
    const answer = this.#answers.shift() ?? "EAGAIN";
    if (typeof answer !== "object") return answer;
    return new TextEncoder().encodeInto(answer.record, buffer).written;
  }

  async wait(): Promise<void> {
    if (this.#answers.length === 0 && !this.isClosed) await this.#wake.promise;
    this.#wake = Promise.withResolvers();
  }

  close(): void {
    this.isClosed = true;
    this.#wake.resolve();
  }
}

/** A kernel record with a number and a text; its stamp is a millisecond times its number. */
export function kernelRecord(
  seq: number,
  text: string,
  { priority = 6, stampUs = seq * 1_000 } = {},
): Answer {
  return { record: `${priority},${seq},${stampUs},-;${text}\n` };
}
