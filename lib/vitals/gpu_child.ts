/**
 * The parent's side of the GPU helper: starts it, asks it, and gives up on it by SIGKILL when it does not answer.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import type { ProgramStart } from "../host/self.ts";
import { Deadline } from "./deadline.ts";
import { type GpuReport, MESSAGE_LIMIT_CHARS, parseReports } from "./gpu_report.ts";

/** An answer, or why there is none. */
export type ChildAnswer =
  | { readonly kind: "reports"; readonly reports: readonly GpuReport[] }
  | { readonly kind: "late" }
  | { readonly kind: "ended"; readonly detail: string };

/** One helper process. */
export class GpuChild {
  /** Settles when the process is gone, which after a kill may take for ever: never to be waited for. */
  readonly gone: Promise<void>;
  readonly #child: Deno.ChildProcess;
  readonly #requests: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #lines: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  readonly #decoder = new TextDecoder();
  #text = "";
  #isGone = false;

  /** Throws what Deno throws where no process can be started. */
  constructor({ argv: [program, ...first], env }: ProgramStart, args: readonly string[]) {
    this.#child = new Deno.Command(program, {
      args: [...first, ...args],
      env,
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
      // Its own group: a Ctrl-C is not for it, and a kill reaches all of it.
      detached: true,
    }).spawn();
    this.#requests = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout.getReader();
    const settle = () => {
      this.#isGone = true;
    };
    this.gone = this.#child.status.then(settle, settle);
  }

  /** Process id, for messages. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Asks once; settles within the deadline. */
  async ask(deadlineMs: number): Promise<ChildAnswer> {
    using deadline = new Deadline(deadlineMs);
    const answer = await Promise.race([this.#exchange(), deadline.reached]);
    return answer === "late" ? { kind: "late" } : answer;
  }

  async #exchange(): Promise<ChildAnswer> {
    try {
      await this.#requests.write(new Uint8Array([0x0a]));
      for (;;) {
        const end = this.#text.indexOf("\n");
        if (end >= 0) {
          const reports = parseReports(this.#text.slice(0, end));
          this.#text = this.#text.slice(end + 1);
          return reports
            ? { kind: "reports", reports }
            : { kind: "ended", detail: "its answer makes no sense" };
        }
        const { value, done } = await this.#lines.read();
        if (done) return { kind: "ended", detail: "it ended" };
        this.#text += this.#decoder.decode(value, { stream: true });
        if (this.#text.length > MESSAGE_LIMIT_CHARS) {
          return { kind: "ended", detail: "its answer has no end" };
        }
      }
    } catch (error) {
      return { kind: "ended", detail: messageOf(error) };
    }
  }

  /** Kills it and all that it has started, and lets go of its pipes, without waiting. */
  kill(): void {
    this.#signalGroup("SIGKILL");
    this.#requests.abort().catch(() => {}); // closed already
    this.#lines.cancel().catch(() => {});
  }

  /** Whether anything of it is left: an nvidia-smi that cannot be killed outlives it. */
  get isLeft(): boolean {
    return !this.#isGone || this.#signalGroup(0);
  }

  /** Ends it by the end of its input; kills what is left after `graceMs`, and gives that as long to go. */
  async end(graceMs: number): Promise<void> {
    this.#requests.close().catch(() => {}); // it may be gone
    await this.#goneWithin(graceMs);
    this.kill();
    await this.#goneWithin(graceMs);
  }

  async #goneWithin(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([this.gone, new Promise((resolve) => timer = setTimeout(resolve, ms))]);
    clearTimeout(timer);
  }

  /** False when nobody is there to be signalled. */
  #signalGroup(signal: Deno.Signal | number): boolean {
    try {
      Deno.kill(-this.#child.pid, signal as Deno.Signal);
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false; // ESRCH
      throw error;
    }
  }
}
