/**
 * What a job reads, where its client asked for that. Each piece says which byte of the input it begins with, so that
 * one that comes twice is taken once. At most one piece is held here: the job's reading sets the pace.
 *
 * @module
 */
import { Failure } from "../failure.ts";

/** How much was taken. */
export interface InputState {
  /** Bytes from the beginning; the next piece begins here. */
  readonly accepted: number;
  /** Nothing more is taken: the end was reached, or the job reads no more. */
  readonly is_closed: boolean;
}

/** An answer comes after so long at most, whether or not the job has read. */
const WAIT_MS = 2_000;

/** See the module's description. */
export class JobInput {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #accepted = 0;
  #isClosed = false;
  #pending: Promise<void> | undefined;

  constructor(stream: WritableStream<Uint8Array<ArrayBuffer>>) {
    this.#writer = stream.getWriter();
    this.#writer.closed.catch(() => {}); // a write tells the same
  }

  /** Takes what is new of `bytes`, which begin at `offset`. Throws a Failure (`bad_request`) where some are missing. */
  async take(offset: number, bytes: Uint8Array<ArrayBuffer>, isEnd: boolean): Promise<InputState> {
    await within(WAIT_MS, this.#pending);
    if (this.#pending !== undefined || this.#isClosed) return this.#state;
    if (offset > this.#accepted) {
      throw new Failure("DATAERR", `offset: expected ${this.#accepted} at most, got ${offset}`, {
        code: "bad_request",
      });
    }
    const fresh = bytes.subarray(this.#accepted - offset);
    this.#accepted += fresh.length;
    this.#pending = this.#write(fresh, isEnd).finally(() => this.#pending = undefined);
    await within(WAIT_MS, this.#pending);
    return this.#state;
  }

  /** The job has ended. */
  close(): void {
    this.#isClosed = true;
    this.#writer.abort().catch(() => {}); // its reader may be gone, which closed it
  }

  get #state(): InputState {
    return { accepted: this.#accepted, is_closed: this.#isClosed };
  }

  async #write(bytes: Uint8Array<ArrayBuffer>, isEnd: boolean): Promise<void> {
    try {
      if (bytes.length > 0) await this.#writer.write(bytes);
      if (!isEnd) return;
      await this.#writer.close();
    } catch {
      // The job closed it, which every program may do, or has ended.
    }
    this.#isClosed = true;
  }
}

async function within(ms: number, work: Promise<void> | undefined): Promise<void> {
  if (work === undefined) return;
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([work, new Promise<void>((resolve) => timer = setTimeout(resolve, ms))]);
  clearTimeout(timer);
}
