/**
 * Takes a job's stream apart into frames, whatever pieces it comes in. The layout is in protocol.ts.
 *
 * @module
 */
import { FRAME_HEADER_BYTES, FRAME_PAYLOAD_MAX_BYTES } from "./protocol.ts";

/** One frame; `payload` may be overwritten as soon as the next one is asked for. */
export interface Frame {
  readonly kind: number;
  readonly seq: number;
  readonly payload: Uint8Array;
}

/** Finds frames in the pieces of one response body. */
export class FrameDecoder {
  #kept = new Uint8Array(64 * 1024);
  #keptBytes = 0;

  /** The frames that `piece` completes. Throws SyntaxError when it cannot be such a stream. */
  *push(piece: Uint8Array): Generator<Frame> {
    let rest = piece;
    while (rest.length > 0) {
      if (this.#keptBytes === 0) {
        const size = frameSize(rest);
        if (size !== undefined && size <= rest.length) {
          yield frameOf(rest.subarray(0, size)); // no copy: most frames come whole
          rest = rest.subarray(size);
          continue;
        }
      }
      const wanted = frameSize(this.#kept.subarray(0, this.#keptBytes)) ?? FRAME_HEADER_BYTES;
      const taken = rest.subarray(0, wanted - this.#keptBytes);
      this.#keep(taken);
      rest = rest.subarray(taken.length);
      if (this.#keptBytes === frameSize(this.#kept.subarray(0, this.#keptBytes))) {
        const frame = this.#kept.subarray(0, this.#keptBytes);
        this.#keptBytes = 0;
        yield frameOf(frame);
      }
    }
  }

  #keep(bytes: Uint8Array): void {
    const size = this.#keptBytes + bytes.length;
    if (size > this.#kept.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.#kept.length));
      larger.set(this.#kept.subarray(0, this.#keptBytes));
      this.#kept = larger;
    }
    this.#kept.set(bytes, this.#keptBytes);
    this.#keptBytes = size;
  }
}

/** Bytes of the frame that begins here, its header included; undefined as long as the header is not there. */
function frameSize(bytes: Uint8Array): number | undefined {
  if (bytes.length < FRAME_HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, FRAME_HEADER_BYTES);
  const payloadBytes = view.getUint32(4, true);
  const isSound = (view.getUint32(0, true) & 0xffffff00) === 0 && payloadBytes <= FRAME_PAYLOAD_MAX_BYTES;
  if (!isSound) throw new SyntaxError(`no frame header: ${bytes.subarray(0, FRAME_HEADER_BYTES).toHex()}`);
  return FRAME_HEADER_BYTES + payloadBytes;
}

function frameOf(bytes: Uint8Array): Frame {
  const view = new DataView(bytes.buffer, bytes.byteOffset, FRAME_HEADER_BYTES);
  return {
    kind: view.getUint8(0),
    seq: Number(view.getBigUint64(8, true)),
    payload: bytes.subarray(FRAME_HEADER_BYTES),
  };
}
