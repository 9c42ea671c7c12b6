/**
 * Gives a job what its client reads, through cut connections: each piece says where it begins, and the server says how
 * far it has come.
 *
 * @module
 */
import { nextDelayMs, sleep } from "../host/backoff.ts";
import type { Log } from "../host/log.ts";
import { type Answer, type HookClient, NoAnswer } from "./client.ts";

/** From where to where. */
export interface FeedOptions {
  readonly client: HookClient;
  readonly id: string;
  readonly from: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly log: Log;
  /** Aborted when the job has ended. */
  readonly signal: AbortSignal;
}

const RETRY = { baseMs: 20, capMs: 1_000 };

/** Feeds until the end of the input, or until nobody reads it any more. Never rejects. */
export async function feedInput(options: FeedOptions): Promise<void> {
  const { from, signal, log } = options;
  const reader = from.getReader();
  const stop = () => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", stop);
  try {
    for (let offset = 0;;) {
      const { value = new Uint8Array(), done } = await reader.read();
      if (signal.aborted || await isRefused(options, { offset, bytes: value, isEnd: done }) || done) return;
      offset += value.length;
    }
  } catch (error) {
    if (!signal.aborted) log.warn("the input is cut", { why: (error as Error).message });
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
}

interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly isEnd: boolean;
}

/** Sends a piece until it is taken; whether no more is wanted. */
async function isRefused(options: FeedOptions, { offset, bytes, isEnd }: Piece): Promise<boolean> {
  const { client, id, signal, log } = options;
  for (let [sent, isAsked, failures] = [0, false, 0]; sent < bytes.length || (isEnd && !isAsked);) {
    const query = `offset=${offset + sent}${isEnd ? "&end=1" : ""}`;
    let answer: Answer;
    try {
      answer = await client.ask("POST", `/v1/jobs/${encodeURIComponent(id)}/input?${query}`, {
        bytes: bytes.subarray(sent),
        signal,
      });
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      log.debug("a piece of the input was not answered", { offset, why: error.message });
      await sleep(nextDelayMs(++failures, RETRY), signal);
      continue;
    }
    const { accepted, is_closed: isClosed } = answer.json as { accepted?: number; is_closed?: boolean };
    if (answer.status !== 200 || accepted === undefined) {
      throw client.failureOf("give the job its input", answer);
    }
    if (isClosed) return true;
    failures = 0;
    sent = accepted - offset;
    isAsked = true;
  }
  return false;
}
