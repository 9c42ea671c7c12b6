/**
 * The sampler as a process beside the command: in a session of its own, so that neither a Ctrl-C nor a hangup
 * reaches it, told what happens by lines of JSON on its standard input, started again when it is killed, which is
 * what its high `oom_score_adj` asks for. Whatever becomes of it, the command is not concerned.
 *
 * @module
 */
import type { ProgramStart } from "../host/self.ts";
import { messageOf } from "../failure.ts";
import { endOf } from "../host/process.ts";
import type { KillCounters } from "./kill_counters.ts";

/** What the sampler is told. */
export type SamplerMessage =
  /** It is a successor: so many before it were ended by SIGKILL, and this is what the counters were at first. */
  | { readonly kind: "restarted"; readonly killed: number; readonly counters: KillCounters }
  | { readonly kind: "signal"; readonly name: string }
  | { readonly kind: "end"; readonly code: number; readonly signal: string | null };

/** Who is told, and how long things may take. */
export interface SamplerChildOptions {
  /** Process ids that somebody waits for; the sampler's is in it while it lives. */
  readonly known: Set<number>;
  /** Told once when the sampler cannot be started or ends before it should. */
  readonly onTrouble: (what: string) => void;
  /** Told when a write to the sampler failed with EPIPE, which raises SIGPIPE in this process. */
  readonly onBrokenPipe: () => void;
  /** Of the command's cgroup, before the command could do anything. */
  readonly counters: KillCounters;
  readonly restartMs?: number;
  readonly maxRestarts?: number;
}

/** A sampler that is there again when it was killed. */
export class SamplerChild {
  readonly #start: ProgramStart;
  readonly #options: Required<SamplerChildOptions>;
  #child: Deno.ChildProcess | undefined;
  #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>> | undefined;
  #ended: Promise<"finished" | "killed"> = Promise.resolve("finished");
  #restarts = 0;
  #killed = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopping = false;

  constructor(start: ProgramStart, options: SamplerChildOptions) {
    this.#start = start;
    this.#options = { restartMs: 1_000, maxRestarts: 8, ...options };
    this.#spawn();
  }

  /** Tells the sampler; nothing waits for it. */
  tell(message: SamplerMessage): void {
    this.#writer?.write(new TextEncoder().encode(`${JSON.stringify(message)}\n`)).catch(() => {
      this.#options.onBrokenPipe(); // it is gone, and #spawn says so
    });
  }

  /**
   * Tells the sampler how the command ended and lets it finish; after `deadlineMs` it is killed. One that was killed,
   * perhaps by what killed the command, gets a successor: that reads the kernel log and says how it ended.
   */
  async end(message: SamplerMessage, deadlineMs: number): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), deadlineMs));
    for (let round = 0; round < 2; round++) {
      if (this.#child === undefined) this.#spawn();
      this.tell(message);
      this.#writer?.close().catch(() => {}); // as in tell()
      const how = await Promise.race([this.#ended, late]);
      if (how === "late") this.#kill(deadlineMs);
      if (how !== "killed") break;
    }
    clearTimeout(timer);
  }

  #kill(deadlineMs: number): void {
    this.#options.onTrouble(`it did not finish within ${deadlineMs} ms`);
    try {
      this.#child?.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended this very moment
    }
  }

  #spawn(): void {
    try {
      const { argv: [program, ...args], env } = this.#start;
      // Detached: setsid(2). A sampler in our group would get the terminal's Ctrl-C. It inherits our signal mask, too:
      // who signals a whole job step signals it as well, and the command decides how long there is to sample.
      const child = new Deno.Command(program, {
        args,
        env,
        stdin: "piped",
        stdout: "inherit",
        stderr: "inherit",
        detached: true,
      }).spawn();
      this.#options.known.add(child.pid);
      this.#child = child;
      this.#writer = child.stdin.getWriter();
      this.#writer.closed.catch(() => {}); // as in tell()
      this.#ended = this.#watch(child);
      const { counters } = this.#options;
      if (this.#killed > 0) this.tell({ kind: "restarted", killed: this.#killed, counters });
    } catch (error) {
      this.#retry(`it cannot be started: ${messageOf(error)}`);
    }
  }

  async #watch(child: Deno.ChildProcess): Promise<"finished" | "killed"> {
    const { code, signal } = await endOf(child);
    this.#options.known.delete(child.pid);
    this.#child = undefined;
    this.#writer = undefined;
    if (signal === "SIGKILL") this.#killed++;
    if (!this.#isStopping) {
      this.#retry(signal === null ? `it ended with status ${code}` : `it was ended by ${signal}`);
    }
    return signal === null ? "finished" : "killed";
  }

  #retry(what: string): void {
    const { restartMs, maxRestarts, onTrouble } = this.#options;
    if (this.#isStopping) return;
    if (this.#restarts >= maxRestarts) return onTrouble(`${what}; it is not started again`);
    const delayMs = restartMs * 2 ** this.#restarts++;
    onTrouble(`${what}; it is started again in ${delayMs / 1_000} s`);
    this.#timer = setTimeout(() => this.#spawn(), delayMs);
  }
}
