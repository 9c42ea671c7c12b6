/**
 * Whose fault it was that a step failed, as a sentence and as the workflow command that shows it on a run's page.
 * Pure: from the job's result, or from the failure that stands in its place.
 *
 * @module
 */
import type { Failure } from "../failure.ts";
import { JobLost } from "./lost.ts";
import type { Result } from "./protocol.ts";

/** What a step's failure is put down to. */
export interface Verdict {
  readonly fault: "script" | "infra" | "unknown";
  /** A few words. */
  readonly title: string;
  /** Sentences, with the evidence. */
  readonly message: string;
}

/** `unknown` stays unknown: a guess that reads like knowledge is worse than none. */
const WHOSE = {
  script: "This is the script's own failure",
  infra: "This is a failure of the infrastructure, not of the script",
  unknown: "Nothing here tells whose fault it is",
} as const;

/** A verdict in sentences: what happened, whose fault it was, by what that is known. */
export function compose(
  fault: Verdict["fault"],
  title: string,
  what: string,
  evidence: readonly string[],
): Verdict {
  return { fault, title, message: sentences([what, WHOSE[fault], ...evidence]) };
}

/** What to say of a result; undefined where the step succeeded. */
export function verdictOf(result: Result): Verdict | undefined {
  if (result.fault === "none") return undefined;
  const [title, what] = CAUSES[result.cause]?.(result) ?? [`Step failed: ${result.cause}`, "The step failed"];
  return compose(result.fault, title, what, result.evidence);
}

/** What to say where there is no result. */
export function verdictOfFailure(failure: Failure): Verdict {
  const evidence = failure instanceof JobLost ? failure.evidence : [];
  const title = failure instanceof JobLost ? "Step lost" : "Step not run";
  return compose(faultOf(failure), title, failure.message, evidence);
}

/** The result that stands for a step without one, for `--result`. */
export function resultOfFailure(failure: Failure, id: string): Record<string, unknown> {
  const isLost = failure instanceof JobLost;
  return {
    schema: 1,
    id,
    code: failure.exitStatus,
    signal: null,
    cause: failure.code,
    fault: faultOf(failure),
    evidence: [failure.message, ...isLost ? failure.evidence : []],
  };
}

/** `::error title=…::…`, docs.github.com "Workflow commands for GitHub Actions"; one line whatever is in it. */
export function annotation({ title, message }: Verdict): string {
  const property = escapeData(title).replaceAll(":", "%3A").replaceAll(",", "%2C");
  return `::error title=${property}::${escapeData(message)}`;
}

/** What was asked for wrongly, or a reader that went away, is nobody's fault that we could name. */
function faultOf(failure: Failure): Verdict["fault"] {
  return ["usage", "output_closed", "interrupted", "busy"].includes(failure.code) ? "unknown" : "infra";
}

function escapeData(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function sentences(texts: readonly string[]): string {
  return texts.map((text) => text.replace(/\.?$/, ".")).join(" ");
}

type Describe = (result: Result) => readonly [title: string, what: string];

const CAUSES: Readonly<Partial<Record<Result["cause"], Describe>>> = {
  exit: ({ code }) => [`Step failed: exit code ${code}`, `The script ended with exit code ${code}`],
  signal: ({ code, signal }) => [
    `Step ended by ${signal ?? "a signal"}`,
    `The script was ended by ${signal ?? "a signal"}, exit code ${code}`,
  ],
  oom: ({ code, max_rss_kb }) => [
    "Step out of memory",
    `The kernel ended the script, exit code ${code}: its cgroup's memory was used up${
      max_rss_kb ? `, its largest process had ${Math.round(max_rss_kb / 1024)} MiB` : ""
    }`,
  ],
  killed_by_request: ({ code }) => ["Step cancelled", `The step was cancelled, exit code ${code}`],
  lease_lost: () => ["Step lost: no client", "The step was ended because its client was not heard any more"],
  server_stopped:
    () => ["Step lost: server stopped", "The step was ended because the hook server was stopped"],
  spawn_failed: () => ["Step not started", "The step could not be started"],
  timeout: () => ["Step timed out", "The step was ended at its time limit"],
};
