/**
 * Prints a job's output for somebody other than its client: nothing is acknowledged.
 *
 * @module
 */
import type { Log } from "../host/log.ts";
import type { HookClient } from "./client.ts";
import { followJob } from "./follow.ts";
import type { OutputSink } from "./sink.ts";
import { findJob } from "./status.ts";

/** What to print. */
export interface LogsOptions {
  readonly client: HookClient;
  /** Without it the job that runs, else the last. */
  readonly id: string | undefined;
  /** To the job's end; without it, what is there by now. */
  readonly follows: boolean;
  readonly sink: OutputSink;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const GIVE_UP_MS = 60_000;

/** Prints it. Throws a Failure where there is no such job or no server. */
export async function printLogs({ client, id, follows, sink, log, signal }: LogsOptions): Promise<void> {
  const job = await findJob(client, id, { orLast: true });
  const until = follows ? {} : { until: job.last_seq };
  const common = { client, id: job.id, sink, acknowledges: false, giveUpMs: GIVE_UP_MS, log, signal };
  if (follows || job.last_seq > 0) await followJob({ ...common, ...until });
  await sink.finish();
}
