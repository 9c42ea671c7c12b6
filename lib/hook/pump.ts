/**
 * Reads one output stream of a job into its spool, into one buffer: 55 MB of memory where the pieces that a stream
 * hands out by itself take 114 (2 GiB, Deno 2.9.6).
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import { FRAME, FRAME_HEADER_BYTES } from "./protocol.ts";
import type { Spool } from "./spool.ts";

/** A pipe holds 64 KiB: more never comes at once. */
const READ_BYTES = 64 * 1024;

/** Buffers of pumps that are done: new ones for each job are 40 MB of garbage before the collector comes. */
const spare: ArrayBuffer[] = [];
const SPARE_LIMIT = 4;

/** Reads until the stream ends, whoever wrote last. */
export class Pump {
  /** Settles at the stream's end. Never rejects. */
  readonly done: Promise<void>;
  #isDetached = false;

  constructor(
    stream: ReadableStream<Uint8Array<ArrayBuffer>>,
    kind: typeof FRAME.stdout | typeof FRAME.stderr,
    spool: Spool,
  ) {
    this.done = this.#run(stream, kind, spool);
  }

  /**
   * The step is over, and what still holds the stream is to go on without it: reading goes on, since a closed pipe
   * would end it, and what it writes is forgotten.
   */
  detach(): void {
    this.#isDetached = true;
  }

  async #run(
    stream: ReadableStream<Uint8Array<ArrayBuffer>>,
    kind: typeof FRAME.stdout | typeof FRAME.stderr,
    spool: Spool,
  ): Promise<void> {
    const reader = stream.getReader({ mode: "byob" });
    let buffer = spare.pop() ?? new ArrayBuffer(FRAME_HEADER_BYTES + READ_BYTES);
    try {
      for (;;) {
        const { value, done } = await reader.read(new Uint8Array(buffer, FRAME_HEADER_BYTES));
        if (done) {
          if (value !== undefined && spare.length < SPARE_LIMIT) spare.push(value.buffer);
          return;
        }
        if (!this.#isDetached) {
          await spool.append(kind, new Uint8Array(value.buffer, 0, FRAME_HEADER_BYTES + value.length));
        }
        buffer = value.buffer;
      }
    } catch (error) {
      if (errnoOf(error) === undefined) throw error; // a pipe that cannot be read is at its end
    }
  }
}
