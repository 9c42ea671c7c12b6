/**
 * One connection to one host, however many tries it takes until the deadline.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { nextDelayMs, sleep } from "../backoff.ts";
import type { Log } from "../log.ts";
import { connectChild } from "./child_peer.ts";
import { PUSH_PLACES } from "./push.ts";
import type { Peer } from "./rpc.ts";
import type { Attempt, FarProgram, StartOf } from "./ssh.ts";

/** How often a host is tried that is too busy to talk. */
const BUSY_TRIES = 6;
const BUSY_WAIT = { baseMs: 400, capMs: 3_000 };

/** How to try. */
export interface ConnectHostOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly start: StartOf;
  readonly program: FarProgram;
  readonly log: Log;
}

/** Rejects as Connector.connect does. */
export async function connectHost(
  host: string,
  { start, program, log, signal, timeoutMs }: ConnectHostOptions,
): Promise<Peer> {
  const deadlineMs = performance.now() + timeoutMs;
  let attempt: Omit<Attempt, "leftMs"> = { skippedPlaces: 0, isAlone: false };
  for (let busyTries = 1; attempt.skippedPlaces < PUSH_PLACES;) {
    const leftMs = Math.max(1, Math.round(deadlineMs - performance.now()));
    const next = await connectChild({
      host,
      ...start(host, program, { ...attempt, leftMs }),
      log,
      signal,
      timeoutMs: leftMs,
    });
    if (!("kind" in next)) return next;
    if (next.kind === "place") {
      log.warn("a host could not store davit, trying the next place there", { host, place: next.place });
      attempt = { ...attempt, skippedPlaces: next.place };
    } else if (next.kind === "silence") {
      log.info("nothing was heard over the shared connection, making another", { host });
      attempt = { ...attempt, isAlone: true };
    } else {
      const waitMs = nextDelayMs(busyTries, BUSY_WAIT);
      if (busyTries++ >= BUSY_TRIES || performance.now() + waitMs > deadlineMs) throw next.failure;
      log.debug("the host is busy, trying again", { host, wait_ms: waitMs });
      await sleep(waitMs, signal);
    }
  }
  throw new Failure("UNKNOWN", `Cannot reach "${host}": it could not store davit anywhere`, {
    code: "agent",
    hint: "free space in ~/.cache, /var/tmp or /tmp there, or name a davit that is there with --agent",
  });
}
