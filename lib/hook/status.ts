/**
 * What a hook server says of itself and of its jobs.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { escapeControls } from "../host/logfmt.ts";
import { formatDuration } from "../units.ts";
import { type Answer, type Ask, type HookClient, NoAnswer } from "./client.ts";
import type { JobStatus, KillSignal, ServerStatus } from "./protocol.ts";

const SHOWN_JOBS = 5;

/** Asks once; a server that cannot be reached is a Failure. */
export async function askOnce(client: HookClient, method: string, path: string, ask?: Ask): Promise<Answer> {
  try {
    return await client.ask(method, path, ask);
  } catch (error) {
    throw error instanceof NoAnswer ? client.unreachable(error) : error;
  }
}

/** The server's status. */
export async function readStatus(client: HookClient): Promise<ServerStatus> {
  const answer = await askOnce(client, "GET", "/status");
  if (answer.status !== 200) throw client.failureOf("read the status", answer);
  const status = answer.json as ServerStatus | null;
  if (typeof status?.instance !== "string" || !Array.isArray(status.recent)) {
    throw client.protocolFailure("a status without its instance");
  }
  return status;
}

/** The status for people: the server, the job that runs, the last ones. */
export function describeStatus(status: ServerStatus, server: string): string {
  const { version, pid, uptime_ms: uptimeMs, job, recent, rpc_dir: directory } = status;
  const others = recent.filter(({ id }) => id !== job?.id).slice(-SHOWN_JOBS);
  return [
    `davit ${version} at ${server}, process ${pid}, up for ${
      formatDuration(uptimeMs)
    }, files in ${directory}`,
    job === null ? "no job runs" : describeJob(job),
    ...others.map(describeJob),
  ].map((line) => escapeControls(line)).join("\n");
}

function describeJob({ id, status, age_ms: ageMs, result }: JobStatus): string {
  const end = result ? `, exit code ${result.code}, cause ${result.cause}` : "";
  return `job ${id}: ${status}, started ${formatDuration(ageMs)} ago${end}`;
}

/** The job that is meant: `id`, or the one that runs, or with `orLast` the last that ran. */
export async function findJob(
  client: HookClient,
  id: string | undefined,
  { orLast }: { orLast: boolean },
): Promise<JobStatus> {
  if (id !== undefined) {
    const answer = await askOnce(client, "GET", `/v1/jobs/${encodeURIComponent(id)}`);
    if (answer.status !== 200) throw client.failureOf(`find job "${id}"`, answer);
    return answer.json as JobStatus;
  }
  const { job, recent } = await readStatus(client);
  const found = job ?? (orLast ? recent.at(-1) : undefined);
  if (found !== undefined) return found;
  throw new Failure(
    "NOINPUT",
    `Cannot find a job on server "${client.server}": none runs${orLast ? " or ran" : ""}`,
    {
      code: "no_job",
    },
  );
}

/** Asks the server to end a job; its id. */
export async function killJob(
  client: HookClient,
  id: string | undefined,
  signal: KillSignal | undefined,
): Promise<string> {
  const job = await findJob(client, id, { orLast: false });
  if (job.result !== undefined) {
    const what = `Cannot end job "${job.id}" on server "${client.server}": it has ended already`;
    throw new Failure("NOINPUT", `${what}, exit code ${job.result.code}`, {
      code: "job_ended",
      hint: "`davit hook status` shows what runs",
    });
  }
  const body = signal === undefined ? {} : { signal };
  const answer = await askOnce(client, "POST", `/v1/jobs/${encodeURIComponent(job.id)}/kill`, { body });
  if (answer.status >= 300) throw client.failureOf(`end job "${job.id}"`, answer);
  return job.id;
}
