/**
 * Passes signals on to a job. GitHub's runner ends a hook with SIGINT, SIGTERM after 7.5 s and SIGKILL after 10 s; the
 * server keeps the same times for the job without us, since by then we may be killed.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { sleep } from "../host/backoff.ts";
import type { Log } from "../host/log.ts";
import { type HookClient, NoAnswer } from "./client.ts";
import { KILL_TIMES, type KillSignal } from "./protocol.ts";

/** From SIGTERM to SIGKILL, as between the runner's own. */
const TERM_TO_KILL_MS = KILL_TIMES.kill_ms - KILL_TIMES.term_ms;
/** A SIGTERM so long after SIGINT is the runner's, and the server sends its own at that time. */
const OWN_TERM_MS = KILL_TIMES.term_ms - 1_000;
const AGAIN_MS = 200;
const END_MS = 5_000;

/** What to pass on to. */
export interface CancelOptions {
  readonly client: HookClient;
  readonly id: string;
  readonly log: Log;
}

/** The signals for one job. Disposed when the job has ended. */
export class Canceller implements Disposable {
  readonly #options: CancelOptions;
  readonly #ended = new AbortController();
  readonly #early: Deno.Signal[] = [];
  #isStarted = false;
  #interruptedMs: number | undefined;
  #interrupts = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: CancelOptions) {
    this.#options = options;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#ended.abort();
  }

  /** The job exists: signals that came before are passed on now. */
  start(): void {
    this.#isStarted = true;
    for (const name of this.#early) this.#pass(name);
  }

  /** A signal came to us. */
  signal(name: Deno.Signal): void {
    this.#early.push(name);
    if (this.#isStarted) this.#pass(name);
  }

  /** Ends the job because its output has nowhere to go; where the server cannot be told, its lease does that. */
  async end(): Promise<void> {
    const timer = setTimeout(() => this.#ended.abort(), END_MS);
    await this.#send(undefined);
    clearTimeout(timer);
  }

  #pass(name: Deno.Signal): void {
    if (name === "SIGINT") return this.#interrupt();
    const sinceMs = performance.now() - (this.#interruptedMs ?? Infinity);
    if (sinceMs > OWN_TERM_MS) return;
    this.#terminate();
  }

  /** Once: the whole escalation. Who asks again means it: SIGTERM, and then SIGKILL. */
  #interrupt(): void {
    this.#interrupts++;
    if (this.#interrupts === 1) {
      this.#interruptedMs = performance.now();
      void this.#send(undefined);
    } else if (this.#interrupts === 2) this.#terminate();
    else void this.#send("KILL");
  }

  #terminate(): void {
    void this.#send("TERM");
    this.#timer ??= setTimeout(() => void this.#send("KILL"), TERM_TO_KILL_MS);
  }

  async #send(signal: KillSignal | undefined): Promise<void> {
    const { client, id, log } = this.#options;
    const path = `/v1/jobs/${encodeURIComponent(id)}/kill`;
    const body = signal === undefined ? {} : { signal };
    while (!this.#ended.signal.aborted) {
      try {
        const answer = await client.ask("POST", path, { body, timeoutMs: 2_000, signal: this.#ended.signal });
        if (answer.status < 500) return;
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        if (error instanceof Failure) return log.warn("cannot pass a signal on", { why: error.message });
        if (!(error instanceof NoAnswer)) throw error;
      }
      await sleep(AGAIN_MS, this.#ended.signal).catch(() => {});
    }
  }
}
