/**
 * Follows a job's output to its end through cut connections: each byte is delivered once and in order, because each
 * frame has a number and a new connection asks for what comes after the last one.
 *
 * @module
 */
import { nextDelayMs, sleep } from "../host/backoff.ts";
import type { Log } from "../host/log.ts";
import { Acknowledger } from "./acknowledger.ts";
import { type HookClient, NoAnswer } from "./client.ts";
import { FrameDecoder } from "./frames.ts";
import { JobLost } from "./lost.ts";
import { FRAME, KEEPALIVE_MS, type Result } from "./protocol.ts";
import type { OutputSink, StreamName } from "./sink.ts";

/** What to follow, and how. */
export interface FollowOptions {
  readonly client: HookClient;
  readonly id: string;
  readonly sink: OutputSink;
  /** The last frame that is not wanted any more; 0 = everything. */
  readonly from?: number;
  /** Tell the server what was delivered, so that it forgets it: for the one reader who owns the job. */
  readonly acknowledges: boolean;
  /** The last frame that is wanted; without it, all until the job ends. */
  readonly until?: number;
  /** The job is lost when the server was not heard for this long. */
  readonly giveUpMs: number;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** A stream that is silent for this long is dead; three times what it may be. */
  readonly silenceMs?: number;
}

const SILENCE_MS = 3 * KEEPALIVE_MS;
/** Where a local socket has no listener, only a new server can come, and that one does not know the job. */
const REFUSED_LOCALLY_MS = 3_000;
const RETRY = { baseMs: 20, capMs: 1_000 };
/** Large reads into one buffer: half the memory of the pieces that a stream hands out by itself (53 for 93 MB). */
const READ_BYTES = 256 * 1024;

/** Delivers the output to the end. The job's result, or undefined when `until` came first. */
export async function followJob(options: FollowOptions): Promise<Result | undefined> {
  return await new Follower(options).run();
}

class Follower {
  readonly #options: FollowOptions;
  readonly #acks: Acknowledger;
  readonly #batch: OutputBatch;
  #seq: number;
  #buffer = new ArrayBuffer(READ_BYTES);
  /** When the first of the failures was that nothing good has come after. */
  #failingSinceMs: number | undefined;
  #result: Result | undefined;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#seq = options.from ?? 0;
    this.#acks = new Acknowledger(options);
    this.#batch = new OutputBatch(options.sink);
  }

  async run(): Promise<Result | undefined> {
    const { log, signal } = this.#options;
    for (let failures = 0;;) {
      signal.throwIfAborted();
      const before = this.#seq;
      try {
        await this.#readOnce();
        if (this.#isDone()) break;
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error;
        this.#giveUpAfterSilence(error);
        log.debug("the stream was cut, connecting again", { seq: this.#seq, why: error.message });
      }
      failures = this.#seq > before ? 0 : failures + 1;
      if (failures > 0) await sleep(nextDelayMs(failures, RETRY), signal);
    }
    await this.#acks.finish(this.#seq);
    return this.#result;
  }

  #isDone(): boolean {
    return this.#result !== undefined || this.#seq >= (this.#options.until ?? Infinity);
  }

  #giveUpAfterSilence(error: NoAnswer): void {
    const { client, giveUpMs } = this.#options;
    const nowMs = performance.now();
    // Not from the last contact alone: while our own reader stalls, or this process is stopped, none is made.
    if (nowMs - client.silentMs > (this.#failingSinceMs ?? -Infinity)) this.#failingSinceMs = nowMs;
    const isLocal = client.server.startsWith("unix:");
    const limitMs = error.isRefused && isLocal ? Math.min(giveUpMs, REFUSED_LOCALLY_MS) : giveUpMs;
    if (nowMs - this.#failingSinceMs! < limitMs) return;
    throw new JobLost(client.server, "server_gone", [
      `the server was last heard ${(client.silentMs / 1000).toFixed(1)} s ago: ${error.message}`,
    ]);
  }

  async #readOnce(): Promise<void> {
    const { client, id, signal } = this.#options;
    const abort = new AbortController();
    const either = AbortSignal.any([signal, abort.signal]);
    const watch = new Watch(this.#options.silenceMs ?? SILENCE_MS, abort);
    try {
      const response = await watch.during(
        client.open("GET", `/v1/jobs/${encodeURIComponent(id)}/stream?from=${this.#seq}`, { signal: either }),
      );
      if (response.status !== 200 || response.body === null) return await this.#refused(response);
      client.noteContact();
      await this.#readBody(response.body, watch);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw abort.signal.aborted ? abort.signal.reason : error;
    } finally {
      abort.abort(); // ends the transfer where we stopped before its end
    }
  }

  async #readBody(body: ReadableStream<Uint8Array<ArrayBuffer>>, watch: Watch): Promise<void> {
    const decoder = new FrameDecoder();
    const reader = body.getReader({ mode: "byob" });
    while (!this.#isDone()) {
      const { value, done } = await watch.during(reader.read(new Uint8Array(this.#buffer))).catch((error) => {
        this.#buffer = new ArrayBuffer(READ_BYTES); // a read that failed keeps the one it was given
        throw new NoAnswer(error);
      });
      if (value !== undefined) this.#buffer = value.buffer;
      if (done) return;
      this.#options.client.noteContact();
      try {
        for (const frame of decoder.push(value)) {
          await this.#deliver(frame);
          if (this.#isDone()) break;
        }
        await this.#batch.flush();
      } catch (error) {
        if (error instanceof SyntaxError) throw this.#options.client.protocolFailure(error.message, error);
        throw error;
      }
    }
  }

  async #deliver({ kind, seq, payload }: { kind: number; seq: number; payload: Uint8Array }): Promise<void> {
    const { sink, client } = this.#options;
    if (kind === FRAME.keepalive || seq <= this.#seq) return;
    if (kind === FRAME.stdout) await this.#batch.add("stdout", payload);
    else if (kind === FRAME.stderr) await this.#batch.add("stderr", payload);
    else {
      await this.#batch.flush();
      if (kind === FRAME.notice) await sink.notice(new TextDecoder().decode(payload));
      else if (kind === FRAME.end) this.#result = JSON.parse(new TextDecoder().decode(payload));
      else throw client.protocolFailure(`a frame of kind ${kind}`);
    }
    this.#seq = seq;
    this.#acks.delivered(seq, payload.length);
  }

  async #refused(response: Response): Promise<void> {
    const { client, id, sink } = this.#options;
    const text = await response.text().catch((error) => {
      throw new NoAnswer(error);
    });
    const { status } = response;
    if (status >= 500) throw new NoAnswer(new Error(`it answers with status ${status}`));
    client.noteContact();
    if (status === 404) {
      throw new JobLost(client.server, "job_unknown", [
        `the server that answers now does not know job "${id}": it was started after the one that had it`,
      ]);
    }
    const json = parsed(text);
    const first = (json as { first_seq?: unknown } | null)?.first_seq;
    if (status === 410 && typeof first === "number" && first > this.#seq + 1) {
      await sink.notice(
        `davit: output before frame ${first} is not to be had any more: it was read already, or there was too much`,
      );
      this.#seq = first - 1;
      return;
    }
    throw client.failureOf(`read the output of job "${id}"`, { status, json });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // an answer of something between us and the server; its status tells
  }
}

/** Puts small frames of one stream together: 256 MiB in frames of 4 KiB took 6.6 s with a write each, 2.4 s so. */
class OutputBatch {
  readonly #sink: OutputSink;
  readonly #bytes = new Uint8Array(READ_BYTES);
  #size = 0;
  #stream: StreamName = "stdout";

  constructor(sink: OutputSink) {
    this.#sink = sink;
  }

  /** Takes bytes, or writes them at once where they are many. */
  async add(stream: StreamName, bytes: Uint8Array): Promise<void> {
    if (stream !== this.#stream || this.#size + bytes.length > this.#bytes.length) await this.flush();
    this.#stream = stream;
    if (this.#size === 0 && bytes.length > this.#bytes.length / 2) {
      return await this.#sink.write(stream, bytes);
    }
    this.#bytes.set(bytes, this.#size);
    this.#size += bytes.length;
  }

  /** Writes what is there. */
  async flush(): Promise<void> {
    const size = this.#size;
    this.#size = 0;
    if (size > 0) await this.#sink.write(this.#stream, this.#bytes.subarray(0, size));
  }
}

/** Ends a transfer that stalls. Time that our own output takes does not count. */
class Watch {
  readonly #silenceMs: number;
  readonly #abort: AbortController;

  constructor(silenceMs: number, abort: AbortController) {
    this.#silenceMs = silenceMs;
    this.#abort = abort;
  }

  async during<T>(work: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      const text = `nothing came for ${this.#silenceMs / 1000} s`;
      this.#abort.abort(new NoAnswer(new Error(text)));
    }, this.#silenceMs);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }
}
