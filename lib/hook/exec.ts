/**
 * One step from the client's side: starts the job exactly once, follows it to its end, passes signals on.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { nextDelayMs, sleep } from "../host/backoff.ts";
import type { Log } from "../host/log.ts";
import { Canceller } from "./canceller.ts";
import { type Answer, type HookClient, NoAnswer } from "./client.ts";
import { feedInput } from "./feed_input.ts";
import { followJob } from "./follow.ts";
import { JobLost } from "./lost.ts";
import type { JobSpec, JobStatus, Result } from "./protocol.ts";
import { kernelClockUs, localPid, serverEvidence } from "./server_evidence.ts";
import type { OutputSink } from "./sink.ts";

/** What to run, and where its output goes. */
export interface ExecOptions {
  readonly client: HookClient;
  /** Names the job for good: the same id never runs twice. */
  readonly id: string;
  readonly spec: JobSpec;
  readonly sink: OutputSink;
  /** What the step reads, where its spec says so. */
  readonly input?: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  /** The step is lost when the server was not heard for this long. */
  readonly giveUpMs: number;
  /** How long the server may take to be there at all. */
  readonly connectMs?: number;
  /** Calls back for each signal from now on. */
  readonly listen: (handler: (name: Deno.Signal) => void) => void;
  readonly log: Log;
}

const CONNECT_MS = 5_000;
const RETRY = { baseMs: 50, capMs: 1_000 };

/** Runs the step. Throws a Failure where it did not run, JobLost where nobody can tell how it ended. */
export async function execJob(options: ExecOptions): Promise<Result> {
  const { client, id, sink, log, giveUpMs, connectMs = CONNECT_MS } = options;
  using canceller = new Canceller({ client, id, log });
  const interrupted = new AbortController();
  options.listen((name) => {
    canceller.signal(name);
    interrupted.abort(interruption(name));
  });
  const early = { log, client, signal: interrupted.signal };
  const sinceUs = kernelClockUs();
  const { instance, pid } = await patiently(
    { ...early, limitMs: Math.min(connectMs, giveUpMs) },
    () => askServer(client),
  );
  const status = await startOnce(options, instance, early).catch(async (error) => {
    // A start that was not answered may have been carried out all the same.
    if (interrupted.signal.aborted) await canceller.end();
    throw error;
  });
  canceller.start();
  const fed = new AbortController();
  if (options.input !== undefined) {
    void feedInput({ client, id, from: options.input, log, signal: fed.signal });
  }
  try {
    // A signal ends the job, and the job's end ends this.
    const signal = new AbortController().signal;
    const from = status.acked_seq;
    const result = await followJob({ client, id, sink, from, acknowledges: true, giveUpMs, log, signal });
    await sink.finish();
    return result!;
  } catch (error) {
    if (error instanceof JobLost) {
      const isLocal = client.server.startsWith("unix:");
      throw isLocal ? error.with(serverEvidence({ pid, sinceUs })) : error;
    }
    if (error instanceof Failure) await canceller.end();
    throw error;
  } finally {
    fed.abort();
  }
}

/** A server's own name for itself: one that was started again has another. */
interface ServerWord extends Answer {
  readonly instance: string;
  readonly pid: number | undefined;
}

async function askServer(client: HookClient): Promise<ServerWord> {
  const answer = await client.ask("GET", "/status", { timeoutMs: CONNECT_MS });
  const { instance, pid } = (answer.json ?? {}) as { instance?: unknown; pid?: unknown };
  if (answer.status < 500 && typeof instance !== "string") {
    throw client.protocolFailure(`status ${answer.status} without an instance in its status`);
  }
  return { ...answer, instance: String(instance), pid: localPid(pid) };
}

/** The same request as often as it takes: the server starts an id once. */
async function startOnce(options: ExecOptions, instance: string, early: Early): Promise<JobStatus> {
  const { client, id, spec, giveUpMs } = options;
  let isFirst = true;
  const answer = await patiently({ ...early, limitMs: giveUpMs }, async () => {
    early.signal.throwIfAborted();
    // A server started since then knows of no first try, and would run the script again.
    if (!isFirst && (await askServer(client)).instance !== instance) {
      throw new JobLost(client.server, "server_restarted", [
        "the request to start the step was sent to the earlier server and not answered, so it may have run",
      ]);
    }
    isFirst = false;
    return await client.ask("PUT", `/v1/jobs/${encodeURIComponent(id)}`, { body: spec });
  });
  if (answer.status === 200 || answer.status === 201) return answer.json as JobStatus;
  throw answer.status === 409 ? busy(client, answer) : client.failureOf(`start step "${id}"`, answer);
}

function busy(client: HookClient, answer: Answer): Failure {
  const { running } = answer.json as { running?: { id?: unknown; status?: unknown; age_ms?: unknown } };
  if (running === undefined) return client.failureOf("start a step", answer);
  const age = (Number(running.age_ms) / 1000).toFixed(1);
  return new Failure(
    "TEMPFAIL",
    `Cannot start a step on server "${client.server}": step "${running.id}" is ${running.status} there for ${age} s`,
    { code: "busy", hint: `\`davit hook kill ${running.id}\` ends it` },
  );
}

/** What the time before the step's start has in common. */
interface Early {
  readonly client: HookClient;
  readonly log: Log;
  /** Aborted by a signal to us: nothing runs yet that could be told. */
  readonly signal: AbortSignal;
}

/** Repeats `work` until it is answered with a status below 500, or the time is up. */
async function patiently<A extends Answer>(
  { client, log, signal, limitMs }: Early & { limitMs: number },
  work: () => Promise<A>,
): Promise<A> {
  const startedMs = performance.now();
  for (let attempt = 1;; attempt++) {
    let failed: NoAnswer | A;
    try {
      failed = await work();
      if (failed.status < 500) return failed;
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      failed = error;
    }
    const delayMs = nextDelayMs(attempt, RETRY);
    if (performance.now() - startedMs + delayMs > limitMs) {
      if (failed instanceof NoAnswer) throw client.unreachable(failed);
      throw client.failureOf("start a step", failed);
    }
    const why = failed instanceof NoAnswer ? failed.message : `status ${failed.status}`;
    log.debug("no good answer, asking again", { attempt, why });
    await sleep(delayMs, signal);
  }
}

function interruption(name: Deno.Signal): Failure {
  const number = { SIGHUP: 1, SIGINT: 2 }[name as string] ?? 15;
  return new Failure(128 + number, `Interrupted by ${name} before the step was started`, {
    code: "interrupted",
  });
}
