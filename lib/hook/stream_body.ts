/**
 * The body of `GET …/stream`: a job's frames as they come, and a keepalive where none do.
 *
 * @module
 */
import { FRAME, FRAME_HEADER_BYTES, KEEPALIVE_MS } from "./protocol.ts";
import type { Spool, SpoolReader } from "./spool.ts";

const PIECE_BYTES = 64 * 1024;
/**
 * Large pieces are lent from a ring and used again after 4 MiB: new memory for each takes 115 MB, this 52 (2 GiB, Deno
 * 2.9.6). A piece is not copied on its way out, so it must have left before its turn comes again. At most half a MiB is
 * on the way: 64 KiB in Deno's channel (BUFFER_BACKPRESSURE_LIMIT) and 417,792 bytes or 16 pieces in hyper's queue.
 */
const RING_PIECES = 64;
/** Smaller ones are new: bytes, not pieces, are what the queues have as their limit. */
const LENT_FROM_BYTES = PIECE_BYTES / 2;
/** Where all streams read; what is read is copied before anything else happens. */
const scratch = new Uint8Array(PIECE_BYTES);

/** What to send, and whom to tell when nobody reads any more. */
export interface StreamOptions {
  readonly spool: Spool;
  readonly reader: SpoolReader;
  readonly onClose: () => void;
  readonly keepaliveMs?: number;
}

/** Frames until the end, or until what comes next was forgotten: the client then asks again. */
export function streamBody(
  { spool, reader, onClose, keepaliveMs = KEEPALIVE_MS }: StreamOptions,
): ReadableStream<Uint8Array> {
  let isClosed = false;
  const close = () => {
    if (!isClosed) onClose();
    isClosed = true;
  };
  const ring: Uint8Array[] = [];
  let turn = 0;
  const lend = (bytes: Uint8Array) => {
    const piece = ring[turn] ??= new Uint8Array(PIECE_BYTES);
    turn = (turn + 1) % RING_PIECES;
    piece.set(bytes);
    return piece.subarray(0, bytes.length);
  };
  return new ReadableStream({
    async pull(controller) {
      while (!isClosed) {
        const { changed } = spool; // asked for before reading, or an append between the two would be missed
        const got = reader.read(scratch);
        if (got === "end" || got === "gone") {
          close();
          return controller.close();
        }
        if (got >= LENT_FROM_BYTES) return controller.enqueue(lend(scratch.subarray(0, got)));
        if (got > 0) return controller.enqueue(scratch.slice(0, got));
        if (!await within(changed, keepaliveMs)) return controller.enqueue(keepalive());
      }
    },
    cancel: close,
  }, { highWaterMark: 0 });
}

function keepalive(): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(FRAME_HEADER_BYTES);
  frame[0] = FRAME.keepalive;
  return frame;
}

async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), ms));
  const came = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return came;
}
