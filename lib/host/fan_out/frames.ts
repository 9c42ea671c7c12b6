/**
 * The wire: frames over a pair of byte streams. A frame is a big-endian length of its payload (4 bytes), a kind (1),
 * the number of the call it belongs to (4), the payload and a newline. The newline is for srun, which holds a
 * line back until it is whole (slurmstepd's buffered I/O), and shows at once where another's bytes came between.
 *
 * Before its first frame the serving end prints {@linkcode HELLO} as a line: what stands before it is a login
 * shell's greeting, and skipped.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { escapeControls } from "../logfmt.ts";

/** Begins the line that the serving end prints first; the number is the wire's version. */
export const HELLO = "davit-agent-wire 1";
const HELLO_REGEXP = /^davit-agent-wire (\d+)\r?$/;

/** Kinds of frames. CALL, CANCEL and END go to the serving end, RESULT and ERROR come from it, the rest both ways. */
export const KIND = {
  CALL: 1,
  RESULT: 2,
  ERROR: 3,
  /** One byte of channel, then raw bytes. */
  BYTES: 4,
  /** A 4-byte count of bytes that were taken. */
  ACK: 5,
  /** No more bytes on this call's input. */
  END: 6,
  MESSAGE: 7,
  /** The caller has given up. */
  CANCEL: 8,
} as const;

/** One frame. */
export interface Frame {
  readonly kind: number;
  readonly call: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** A setup script of 1 MB and its quoting fit in well; text where a length should be is far above. */
export const PAYLOAD_LIMIT_BYTES = 16 << 20;
/** How much may come before the hello line. */
const GREETING_LIMIT_BYTES = 256 << 10;
const SHOWN_CHARS = 200;
const HEADER_BYTES = 9;
const NEWLINE = 10;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The bytes of one frame; `parts` are joined. Throws a Failure (`too_large`) above the limit. */
export function encodeFrame(
  kind: number,
  call: number,
  ...parts: readonly Uint8Array[]
): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length > PAYLOAD_LIMIT_BYTES) {
    throw new Failure(
      "DATAERR",
      `Cannot send ${length} bytes in one message: ${PAYLOAD_LIMIT_BYTES} are the limit`,
      {
        code: "too_large",
      },
    );
  }
  const frame = new Uint8Array(HEADER_BYTES + length + 1);
  const view = new DataView(frame.buffer);
  view.setUint32(0, length);
  frame[4] = kind;
  view.setUint32(5, call);
  let at = HEADER_BYTES;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  frame[at] = NEWLINE;
  return frame;
}

/** A frame with a JSON payload; `undefined` travels as null. */
export function encodeJson(kind: number, call: number, value: unknown): Uint8Array<ArrayBuffer> {
  return encodeFrame(kind, call, encoder.encode(JSON.stringify(value) ?? "null"));
}

/** The value of a JSON payload. */
export function decodeJson({ payload }: Frame): unknown {
  try {
    return JSON.parse(decoder.decode(payload));
  } catch (cause) {
    throw protocolFailure("a message is not JSON", cause);
  }
}

/** Reads a byte stream by lines and by frames. */
export class FrameReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #buffer = new Uint8Array(0);
  #hasRead = false;

  /** Whether anything came at all. */
  get hasRead(): boolean {
    return this.#hasRead;
  }

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /**
   * Reads lines until one matches, and gives the match; what came before it goes to `onGreeting` line by line.
   * Undefined at the end of the stream. Throws a Failure (`protocol`) when too much comes before it.
   */
  async readLine(wanted: RegExp, onGreeting: (line: string) => void): Promise<RegExpExecArray | undefined> {
    let skippedBytes = 0;
    for (;;) {
      const end = this.#buffer.indexOf(NEWLINE);
      if (end >= 0) {
        const line = decoder.decode(this.#take(end + 1).subarray(0, end));
        const match = wanted.exec(line);
        if (match !== null) return match;
        if (line.trim() !== "") onGreeting(line);
        skippedBytes += end + 1;
      }
      if (skippedBytes + (end < 0 ? this.#buffer.length : 0) > GREETING_LIMIT_BYTES) {
        throw protocolFailure(`${GREETING_LIMIT_BYTES} bytes came and none of them was from davit`);
      }
      if (end < 0 && !await this.#more()) {
        if (this.#buffer.length > 0) onGreeting(decoder.decode(this.#buffer));
        return undefined;
      }
    }
  }

  /**
   * Waits for the serving end's first line and gives true, or for another line that ends the waiting and gives its
   * match. Undefined when the stream ended before.
   */
  async readHello(
    onGreeting: (line: string) => void,
    other?: RegExp,
  ): Promise<true | RegExpExecArray | undefined> {
    const wanted = other === undefined ? HELLO_REGEXP : new RegExp(`${HELLO_REGEXP.source}|${other.source}`);
    const match = await this.readLine(wanted, onGreeting);
    if (match === undefined) return undefined;
    if (match[0].trimEnd() === HELLO) return true;
    const version = HELLO_REGEXP.exec(match[0])?.[1];
    if (version === undefined) return other!.exec(match[0])!;
    throw protocolFailure(`it speaks version ${version} of the wire, this davit ${HELLO.split(" ")[1]}`);
  }

  /**
   * The next frame; undefined at the end, also when that is in the middle of one. Throws a Failure (`protocol`)
   * when the stream is not made of frames.
   */
  async readFrame(): Promise<Frame | undefined> {
    if (!await this.#fill(HEADER_BYTES)) return undefined;
    const view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset);
    const [length, kind, call] = [view.getUint32(0), view.getUint8(4), view.getUint32(5)];
    if (length > PAYLOAD_LIMIT_BYTES || kind < KIND.CALL || kind > KIND.CANCEL) {
      const text = decoder.decode(this.#buffer.subarray(0, SHOWN_CHARS));
      throw protocolFailure(
        `other bytes came between the messages, beginning with "${escapeControls(text)}"`,
      );
    }
    if (!await this.#fill(HEADER_BYTES + length + 1)) return undefined;
    const frame = this.#take(HEADER_BYTES + length + 1);
    if (frame[HEADER_BYTES + length] !== NEWLINE) {
      throw protocolFailure("other bytes came between the messages");
    }
    // A copy: a small frame must not keep the large chunk alive that it came in.
    return { kind, call, payload: frame.slice(HEADER_BYTES, HEADER_BYTES + length) };
  }

  /** Lets go of the stream. */
  async cancel(): Promise<void> {
    await this.#reader.cancel().catch(() => {}); // it has failed before, which its reader was told
  }

  async #fill(bytes: number): Promise<boolean> {
    if (this.#buffer.length >= bytes) return true;
    // Chunks are joined once, not one by one: a payload of 16 MiB comes in hundreds of them.
    const chunks = [this.#buffer];
    let length = this.#buffer.length;
    while (length < bytes) {
      const { value, done } = await this.#reader.read();
      if (done) break;
      this.#hasRead = true;
      chunks.push(value as Uint8Array<ArrayBuffer>);
      length += value.length;
    }
    this.#buffer = chunks.length === 1 ? chunks[0]! : joined(chunks, length);
    return length >= bytes;
  }

  async #more(): Promise<boolean> {
    return await this.#fill(this.#buffer.length + 1);
  }

  #take(bytes: number): Uint8Array<ArrayBuffer> {
    const taken = this.#buffer.subarray(0, bytes);
    this.#buffer = this.#buffer.subarray(bytes);
    return taken;
  }
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** The failure of a far end that does not keep to the wire. */
export function protocolFailure(what: string, cause?: unknown): Failure {
  return new Failure("PROTOCOL", `Cannot understand the other end: ${what}`, { code: "protocol", cause });
}
