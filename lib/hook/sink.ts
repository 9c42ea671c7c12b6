/**
 * Where a step's output goes: our own stdout and stderr, byte for byte, and between the lines of stderr what the
 * server and we have to say.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";

const LINE_FEED = 10;

/** A stream that can be written to without blocking the event loop: signals must be heard while a reader stalls. */
export interface Writer {
  write(bytes: Uint8Array): Promise<number>;
}

/** Name of an output stream. */
export type StreamName = "stdout" | "stderr";

/** Takes a step's output. */
export class OutputSink {
  readonly #writers: Readonly<Record<StreamName, Writer>>;
  readonly #pending: string[] = [];
  #isMidLine = false;

  constructor(writers: Readonly<Record<StreamName, Writer>>) {
    this.#writers = writers;
  }

  /** Writes all of `bytes`. Throws a Failure (`output_closed` with exit 141, or `output`) when it cannot. */
  async write(stream: StreamName, bytes: Uint8Array): Promise<void> {
    if (stream === "stdout" || bytes.length === 0) return await this.#writeAll(stream, bytes);
    // Not between the two halves of somebody's line: whoever reads line by line would see one that nobody wrote.
    const end = this.#pending.length > 0 && this.#isMidLine ? bytes.indexOf(LINE_FEED) + 1 : 0;
    if (end > 0) {
      await this.#writeAll(stream, bytes.subarray(0, end));
      this.#isMidLine = false;
    }
    if (!this.#isMidLine) await this.#flushNotices();
    if (end === bytes.length) return;
    await this.#writeAll(stream, bytes.subarray(end));
    this.#isMidLine = bytes.at(-1) !== LINE_FEED;
  }

  /** Says something on a line of its own, at the next end of a line of stderr. */
  async notice(text: string): Promise<void> {
    this.#pending.push(text);
    if (!this.#isMidLine) await this.#flushNotices();
  }

  /** Says what is still to be said, the step's last line being whole or not. */
  async finish(): Promise<void> {
    if (this.#pending.length === 0) return;
    if (this.#isMidLine) this.#pending.unshift("");
    this.#isMidLine = false;
    await this.#flushNotices();
  }

  async #flushNotices(): Promise<void> {
    const lines = this.#pending.splice(0);
    if (lines.length > 0) await this.#writeAll("stderr", new TextEncoder().encode(`${lines.join("\n")}\n`));
  }

  async #writeAll(stream: StreamName, bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length;) at += await this.#writers[stream].write(bytes.subarray(at));
    } catch (error) {
      throw cannotWrite(stream, error);
    }
  }
}

function cannotWrite(stream: StreamName, error: unknown): Failure {
  const errno = errnoOf(error);
  // As a shell's `| head` ends other programs: 128 and the number of SIGPIPE.
  if (errno === "EPIPE" || error instanceof Deno.errors.BrokenPipe) {
    return new Failure(141, `Cannot write the step's ${stream}: its reader is gone, the step was ended`, {
      code: "output_closed",
      cause: error,
    });
  }
  const what = errno === "ENOSPC" ? "no space is left where it goes" : messageOf(error);
  return new Failure("IOERR", `Cannot write the step's ${stream}: ${what}, the step was ended`, {
    code: "output",
    cause: error,
  });
}
