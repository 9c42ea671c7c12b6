/**
 * The output of an exec on its way to the caller. A runtime says in the program's place, on either stream and with
 * statuses of its own, that it could not start it; that is turned into what a shell says, 127 and 126.
 *
 * @module
 */
import type { CallContext } from "../../host/fan_out/rpc.ts";

/** How it ended, by the rules of a shell. */
export interface OutputEnd {
  readonly code: number;
  /** The CLI may have failed before there was any program: `stderr` has its words. */
  readonly isCallFailed: boolean;
  readonly stderr: string;
}

/** A runtime's own words, docker's on stdout. They come in one piece and last. */
const START_FAILED_REGEXP = /OCI runtime|(?:runc|crun|youki|runsc): |unable to find (?:user|group)/;
const CALL_FAILED_REGEXP = /^Error response from daemon: |^Error: |Cannot connect to the Docker daemon/m;
const HELD_LIMIT_BYTES = 8_192;
const KEPT_CHARS = 8_192;

/** Pumps both streams. */
export class ExecOutput {
  readonly #send: CallContext["send"];
  readonly #program: string;
  readonly #held = new Map<number, Uint8Array>();
  #bytes = 0;
  #stderr = "";

  constructor({ send }: Pick<CallContext, "send">, program: string) {
    this.#send = send;
    this.#program = program;
  }

  /** Sends what comes, in order; a caller that does not take it holds the program back. */
  async pump(channel: number, stream: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of stream) {
      await this.#flush(channel);
      this.#bytes += chunk.length;
      const isShort = chunk.length <= HELD_LIMIT_BYTES;
      const text = isShort ? new TextDecoder().decode(chunk) : "";
      if (channel === 2) this.#stderr = (this.#stderr + text).slice(-KEPT_CHARS);
      if (isShort && START_FAILED_REGEXP.test(text)) this.#held.set(channel, chunk);
      else await this.#send(channel, chunk);
    }
  }

  async #flush(channel: number): Promise<void> {
    const chunk = this.#held.get(channel);
    this.#held.delete(channel);
    if (chunk !== undefined) await this.#send(channel, chunk);
  }

  /** Decides what the CLI's status means, and sends the rest. */
  async finish(code: number): Promise<OutputEnd> {
    const fault = code >= 125 ? this.#startFault() : undefined;
    if (fault !== undefined) {
      this.#held.clear();
      await this.#send(2, new TextEncoder().encode(`davit: cannot run "${this.#program}": ${fault.what}\n`));
      return { code: fault.code, isCallFailed: false, stderr: "" };
    }
    for (const channel of [...this.#held.keys()]) await this.#flush(channel);
    const isCallFailed = [1, 125, 126, 255].includes(code) && this.#bytes <= KEPT_CHARS &&
      CALL_FAILED_REGEXP.test(this.#stderr);
    return { code, isCallFailed, stderr: this.#stderr };
  }

  #startFault(): { code: number; what: string } | undefined {
    const texts = [...this.#held.values()].map((chunk) => new TextDecoder().decode(chunk));
    const text = texts.find((candidate) => START_FAILED_REGEXP.test(candidate));
    if (text === undefined) return undefined;
    if (/chdir to cwd/.test(text)) return { code: 126, what: "there is no such working directory" };
    if (/unable to find (?:user|group)/.test(text)) {
      return { code: 126, what: "there is no such user or group" };
    }
    if (/executable file not found|no such file or directory/.test(text)) {
      return { code: 127, what: "there is no such program" };
    }
    if (/permission denied|is a directory|exec format error/i.test(text)) {
      return { code: 126, what: "it cannot be executed" };
    }
    // A runtime with other words, or a program that talks of them.
    return undefined;
  }
}
