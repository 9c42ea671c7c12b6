/**
 * Tells a spool what may be forgotten, for clients that know no frames but only byte offsets of either stream: who
 * asks for what comes after an offset has what comes before it. Nothing is forgotten that need not be.
 *
 * @module
 */
import { FrameDecoder } from "./frames.ts";
import { FRAME } from "./protocol.ts";
import type { Spool, SpoolReader } from "./spool.ts";

const READ_BYTES = 256 * 1024;
/** Up to here a client may ask for everything again, from the first byte. */
const KEEP_BYTES = 256 << 20;

/** One frame: where its streams are after it. */
interface Place {
  readonly seq: number;
  readonly stdout: number;
  readonly stderr: number;
}

/** For one job. */
export class StreamAcks {
  readonly #spool: Spool;
  readonly #keepBytes: number;
  readonly #delivered = { stdout: 0, stderr: 0 };
  readonly #places: Place[] = [];
  readonly #decoder = new FrameDecoder();
  #reader: SpoolReader | undefined;
  #last: Place = { seq: 0, stdout: 0, stderr: 0 };

  constructor(spool: Spool, { keepBytes = KEEP_BYTES }: { keepBytes?: number } = {}) {
    this.#spool = spool;
    this.#keepBytes = keepBytes;
    this.#reader = spool.openAfter(0);
  }

  /** The client has all of `stream` before `offset`. */
  delivered(stream: "stdout" | "stderr", offset: number): void {
    this.#delivered[stream] = Math.max(this.#delivered[stream], offset);
    if (this.#spool.bytes <= this.#keepBytes) return;
    let seq = 0;
    for (let place = this.#next(); place !== undefined; place = this.#next()) {
      const { stdout, stderr } = this.#delivered;
      if (place.stdout > stdout || place.stderr > stderr) break;
      seq = this.#places.shift()!.seq;
    }
    if (seq > 0) this.#spool.acknowledge(seq);
  }

  /** The first frame that is not known to be delivered; the spool is read along for that. */
  #next(): Place | undefined {
    const buffer = new Uint8Array(this.#places.length === 0 ? READ_BYTES : 0);
    while (this.#places.length === 0 && this.#reader !== undefined) {
      const count = this.#reader.read(buffer);
      if (count === "gone") this.#reader = undefined; // it was dropped: from now on only the bound counts
      if (typeof count !== "number" || count === 0) break;
      for (const { kind, seq, payload } of this.#decoder.push(buffer.subarray(0, count))) {
        this.#last = {
          seq,
          stdout: this.#last.stdout + (kind === FRAME.stdout ? payload.length : 0),
          stderr: this.#last.stderr + (kind === FRAME.stderr ? payload.length : 0),
        };
        this.#places.push(this.#last);
      }
    }
    return this.#places[0];
  }
}
