/**
 * Flow control within one call: a sender has so many bytes under way and then waits until some are taken. A slow
 * reader thus holds its own call back and nothing else on the connection.
 *
 * @module
 */
import { protocolFailure } from "./frames.ts";

/** Per call and direction. 300 hosts whose readers all stand still hold 75 MB. */
export const WINDOW_BYTES = 256 << 10;
/** Bytes in one frame; a frame of another call waits no longer than for this. */
export const CHUNK_BYTES = 64 << 10;
/** Messages that wait for a handler; more is a caller that floods. */
export const MESSAGES_LIMIT = 1_024;

/** The sender's side of a window. */
export class Credit {
  #leftBytes = WINDOW_BYTES;
  #isOver = false;
  #wake = Promise.withResolvers<void>();

  /** Waits until at least one byte may go; false when nothing will be taken any more. */
  async wait(): Promise<boolean> {
    while (this.#leftBytes <= 0 && !this.#isOver) await this.#wake.promise;
    return !this.#isOver;
  }

  /** Takes up to `bytes` and says how many may go now. */
  take(bytes: number): number {
    const taken = Math.min(bytes, this.#leftBytes, CHUNK_BYTES);
    this.#leftBytes -= taken;
    return taken;
  }

  /** The other end has taken so many. */
  give(bytes: number): void {
    this.#leftBytes += bytes;
    if (this.#leftBytes > WINDOW_BYTES) throw protocolFailure("it took more bytes than were sent");
    this.#signal();
  }

  /** Nobody takes any more: all that wait go on. */
  end(): void {
    this.#isOver = true;
    this.#signal();
  }

  #signal(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }
}

/** What came and was not taken yet, as an async iterable for one consumer; `limit` items may wait. */
export class Inbox<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  readonly #onTaken: (item: T) => void;
  readonly #limit: number;
  #isOver = false;
  #wake = Promise.withResolvers<void>();

  constructor({ limit, onTaken = () => {} }: { limit: number; onTaken?: (item: T) => void }) {
    this.#limit = limit;
    this.#onTaken = onTaken;
  }

  put(item: T): void {
    if (this.#isOver) return;
    if (this.#items.length >= this.#limit) throw protocolFailure(`more than ${this.#limit} messages wait`);
    this.#items.push(item);
    this.#signal();
  }

  /** No more will come; what is there can still be taken. */
  end(): void {
    this.#isOver = true;
    this.#signal();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        this.#onTaken(item);
        yield item;
      } else if (this.#isOver) return;
      else await this.#wake.promise;
    }
  }

  #signal(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }
}

/** Writes frames to a stream one after the other; what fails is told by the reading side's end. */
export class FrameWriter {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #waitingBytes = 0;

  constructor(stream: WritableStream<Uint8Array>) {
    this.#writer = stream.getWriter();
  }

  /** Bytes that were handed over and not yet written. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Resolves when it is written, or cannot be any more: the reading side then ends too, with the reason. */
  async write(frame: Uint8Array): Promise<void> {
    this.#waitingBytes += frame.length;
    try {
      await this.#writer.write(frame);
    } catch {
      // The other end is gone.
    } finally {
      this.#waitingBytes -= frame.length;
    }
  }

  /** Ends the stream after what waits; it may have ended before. */
  async close(): Promise<void> {
    await this.#writer.close().catch(() => {});
  }

  /** Ends the stream at once. */
  async abort(): Promise<void> {
    await this.#writer.abort().catch(() => {});
  }
}
