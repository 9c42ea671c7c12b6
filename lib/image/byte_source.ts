/**
 * Cuts a stream of chunks into the pieces a parser asks for. Pieces that lie inside one chunk are views of it,
 * nothing is copied; only what straddles two chunks is.
 *
 * @module
 */

/** Thrown when the stream ends inside something. */
export class TruncatedStream extends Error {
  constructor(readonly offset: number, wantedBytes: number) {
    super(`it ends at byte ${offset}, ${wantedBytes} more were expected`);
  }
}

const EMPTY = new Uint8Array(0);

/** A forward-only reader over chunks. A piece that it returned is valid until the next call. */
export class ByteSource {
  #chunk: Uint8Array = EMPTY;
  #at = 0;
  #chunkStart = 0;
  readonly #chunks: AsyncIterator<Uint8Array>;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Bytes consumed so far. */
  get offset(): number {
    return this.#chunkStart + this.#at;
  }

  /** `count` bytes when the current chunk has them: saves the caller an await per header. */
  tryTake(count: number): Uint8Array | undefined {
    if (this.#chunk.length - this.#at < count) return undefined;
    const piece = this.#chunk.subarray(this.#at, this.#at + count);
    this.#at += count;
    return piece;
  }

  /** `count` bytes, or undefined when the stream is at its end. Throws {@linkcode TruncatedStream} in between. */
  async take(count: number): Promise<Uint8Array | undefined> {
    const whole = this.tryTake(count);
    if (whole) return whole;
    const piece = new Uint8Array(count);
    let filled = 0;
    while (filled < count) {
      const part = await this.some(count - filled);
      if (!part) {
        if (filled === 0) return undefined;
        throw new TruncatedStream(this.offset, count - filled);
      }
      piece.set(part, filled);
      filled += part.length;
    }
    return piece;
  }

  /** The next 1 to `max` bytes, whatever is at hand, or undefined at the end. */
  async some(max: number): Promise<Uint8Array | undefined> {
    if (this.#at === this.#chunk.length && !await this.#pull()) return undefined;
    return this.tryTake(Math.min(max, this.#chunk.length - this.#at));
  }

  /** Passes over `count` bytes. Throws {@linkcode TruncatedStream} when there are fewer. */
  async skip(count: number): Promise<void> {
    let left = count;
    for (;;) {
      const step = Math.min(left, this.#chunk.length - this.#at);
      this.#at += step;
      left -= step;
      if (left === 0) return;
      if (!await this.#pull()) throw new TruncatedStream(this.offset, left);
    }
  }

  /** Reads to the end and forgets what is there, so that errors near the end of the stream are not missed. */
  async drain(): Promise<void> {
    do this.#at = this.#chunk.length; while (await this.#pull());
  }

  /** Ends the stream early, so that what feeds it is released. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #pull(): Promise<boolean> {
    for (;;) {
      const { value, done } = await this.#chunks.next();
      if (done) return false;
      this.#chunkStart += this.#chunk.length;
      this.#chunk = value;
      this.#at = 0;
      if (value.length > 0) return true;
    }
  }
}
