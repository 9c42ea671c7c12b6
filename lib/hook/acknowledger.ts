/**
 * Tells a hook server which output was delivered, so that it can forget it.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { Log } from "../host/log.ts";
import { type HookClient, NoAnswer } from "./client.ts";

const ACK_EVERY_BYTES = 4 << 20;
const ACK_EVERY_MS = 1_000;

/** For which job. */
export interface AcknowledgeOptions {
  readonly client: HookClient;
  readonly id: string;
  /** False: nothing is told at all. */
  readonly acknowledges: boolean;
  readonly log: Log;
}

/** Tells the server what was delivered, seldom, and one request at a time. */
export class Acknowledger {
  readonly #options: AcknowledgeOptions;
  #bytes = 0;
  #atMs = performance.now();
  #inFlight: Promise<void> | undefined;

  constructor(options: AcknowledgeOptions) {
    this.#options = options;
  }

  /** A frame of that many bytes was delivered. */
  delivered(seq: number, bytes: number): void {
    this.#bytes += bytes;
    if (!this.#options.acknowledges || this.#inFlight !== undefined) return;
    if (this.#bytes < ACK_EVERY_BYTES && performance.now() - this.#atMs < ACK_EVERY_MS) return;
    this.#bytes = 0;
    this.#atMs = performance.now();
    this.#inFlight = this.#send(seq).finally(() => this.#inFlight = undefined);
  }

  /** The last word: all up to `seq` was delivered. */
  async finish(seq: number): Promise<void> {
    await this.#inFlight;
    if (this.#options.acknowledges) await this.#send(seq);
  }

  async #send(seq: number): Promise<void> {
    const { client, id, log } = this.#options;
    try {
      await client.ask("POST", `/v1/jobs/${encodeURIComponent(id)}/ack`, { body: { seq }, timeoutMs: 2_000 });
    } catch (error) {
      // The next one says the same and more; without any, the server keeps output for longer.
      if (!(error instanceof NoAnswer || error instanceof Failure)) throw error;
      log.debug("an acknowledgement was lost", { seq, why: error.message });
    }
  }
}
