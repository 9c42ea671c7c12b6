/**
 * Finds where the frames of a zstd stream end, without decompressing them, from the lengths in frame and block
 * headers (RFC 8878, section 3.1). Needed because node:zlib's zstd decompressor reads only the first frame and
 * takes a truncated one for a whole one, both without an error (measured with Deno 2.9.6), while pzstd and
 * zstd:chunked layers have many frames.
 *
 * @module
 */

/** A piece of the stream: bytes of the current frame, and whether the frame ends with them. */
export interface FramePiece {
  readonly bytes: Uint8Array;
  readonly endsFrame: boolean;
}

const MAGIC = 0xfd2fb528;
const MAGIC_BYTES = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);
const SKIPPABLE_MAGIC = 0x184d2a50; // the last digit may be anything
const RAW = 0;
const RLE = 1;
const RESERVED = 3;

type State = "magic" | "descriptor" | "header" | "block" | "body" | "checksum" | "skipSize" | "skip";

/** Splits a zstd stream into frames as its bytes come in. Throws SyntaxError when they are no zstd stream. */
export class ZstdFrameSplitter {
  #state: State = "magic";
  /** Bytes still missing from the current field. */
  #left = 4;
  #value = 0;
  #valueBytes = 0;
  #hasChecksum = false;
  #isLastBlock = false;
  #offset = 0;

  /**
   * The pieces of `chunk`, views of it but for the magic number: only when that is complete, perhaps in the next
   * chunk, is it known whether it begins a skippable frame, and those are left out.
   */
  *push(chunk: Uint8Array): Generator<FramePiece> {
    let start = 0; // of what belongs to the current frame and is not handed out
    let at = 0;
    while (at < chunk.length) {
      const step = Math.min(this.#left, chunk.length - at);
      if (this.#state !== "body" && this.#state !== "skip") {
        // Fields are at most 14 bytes long, of which only the first 4 carry what is needed here.
        for (let index = 0; index < step && this.#valueBytes < 4; index++) {
          this.#value = (this.#value | chunk[at + index]! << 8 * this.#valueBytes++) >>> 0;
        }
      }
      at += step;
      this.#left -= step;
      this.#offset += step;
      if (this.#left > 0) break;
      const before = this.#state;
      this.#advance();
      if (before === "magic" || before === "skipSize" || before === "skip") {
        start = at;
        if (this.#state === "descriptor") yield { bytes: MAGIC_BYTES, endsFrame: false };
      } else if (this.#state === "magic") {
        yield { bytes: chunk.subarray(start, at), endsFrame: true };
        start = at;
      }
    }
    const inFrame = this.#state !== "magic" && this.#state !== "skipSize" && this.#state !== "skip";
    if (inFrame && start < at) yield { bytes: chunk.subarray(start, at), endsFrame: false };
  }

  /** Throws SyntaxError when the stream stopped inside a frame. */
  end(): void {
    if (this.#state !== "magic" || this.#left !== 4) {
      throw new SyntaxError(`a zstd stream that ends inside a frame, at byte ${this.#offset}`);
    }
  }

  /** The current field is complete: sets the next one, once more for a block of no length. */
  #advance(): void {
    const value = this.#value;
    switch (this.#state) {
      case "magic":
        if (value === MAGIC) return this.#expect("descriptor", 1);
        if ((value & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) return this.#expect("skipSize", 4);
        throw new SyntaxError(`garbage in a zstd stream before byte ${this.#offset}`);
      case "descriptor":
        return this.#expect("header", this.#headerBytes(value));
      case "header":
      case "body":
        if (this.#state === "header" || !this.#isLastBlock) return this.#expect("block", 3);
        return this.#hasChecksum ? this.#expect("checksum", 4) : this.#expect("magic", 4);
      case "block": {
        this.#isLastBlock = (value & 1) === 1;
        const type = value >> 1 & 3;
        if (type === RESERVED) throw new SyntaxError(`a reserved zstd block before byte ${this.#offset}`);
        const size = type === RLE ? 1 : value >> 3;
        this.#expect("body", size);
        if (size === 0 && type === RAW) this.#advance();
        else if (size === 0) throw new SyntaxError(`an empty zstd block before byte ${this.#offset}`);
        return;
      }
      case "skipSize":
        return value === 0 ? this.#expect("magic", 4) : this.#expect("skip", value);
      case "checksum":
      case "skip":
        return this.#expect("magic", 4);
    }
  }

  /** Bytes of window descriptor, dictionary id and content size: 1 to 14. */
  #headerBytes(descriptor: number): number {
    const singleSegment = (descriptor >> 5 & 1) === 1;
    this.#hasChecksum = (descriptor >> 2 & 1) === 1;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
    const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
    return (singleSegment ? 0 : 1) + dictionaryBytes + sizeBytes;
  }

  #expect(state: State, bytes: number): void {
    this.#state = state;
    this.#left = bytes;
    this.#value = 0;
    this.#valueBytes = 0;
  }
}
