/**
 * What ended was the probe or its log, not the job; and what is left when no rule fits.
 *
 * @module
 */
import { evidence } from "../evidence.ts";
import type { Facts } from "../facts.ts";
import { anomalies } from "../health.ts";
import type { Finding } from "../types.ts";

/** The job went on, the probe did not. */
export function probeStopped(facts: Facts): Finding | undefined {
  const { outlivedMs, last } = facts;
  if (facts.run.end !== undefined || facts.isQuiet || last === undefined || outlivedMs === undefined) {
    return undefined;
  }
  if (outlivedMs <= facts.patienceMs) return undefined;
  const isOfCaller = facts.options.endedMs !== undefined;
  return {
    class: "probe_stopped",
    confidence: isOfCaller ? "medium" : "high",
    summary: `The probe fell silent ${(outlivedMs / 1000).toFixed(0)} s before ${
      isOfCaller ? "the job's end" : "the log's last line"
    }: it was killed or blocked, the job was not`,
    evidence: [evidence(last)],
    check: [
      ...isOfCaller
        ? [
          "whether --ended is when the job ended, or when somebody noticed: GitHub notices a lost runner after 10 min",
        ]
        : [],
      "what else was killed at that moment; a probe in a cgroup of its own outlives the job's",
    ],
  };
}

const MISSING_SHARE = 0.02;
const MISSING_LINES = 3;

/** Lines were written that are not here, or the probe had to drop some. */
export function logLost(facts: Facts): Finding | undefined {
  const missing = missingLines(facts);
  const dropped = facts.samples.filter((sample) => (sample.number("lost") ?? 0) > 0);
  const { start } = facts.run;
  const isEmpty = facts.last === undefined && start !== undefined &&
    (facts.outlivedMs ?? 0) > facts.patienceMs;
  if (!isEmpty && missing === undefined && dropped.length === 0) return undefined;
  const summary = isEmpty
    ? "The probe started and no sample of it is here, while other lines are"
    : missing !== undefined
    ? `${missing} lines are missing by their numbers: they were written and lost on the way`
    : "The probe could not write some of its lines: its output was blocked";
  return {
    class: "log_lost",
    confidence: "medium",
    summary,
    evidence: (isEmpty ? [start] : dropped.length > 0 ? dropped.slice(-2) : facts.samples.slice(-1)).map((
      record,
    ) => evidence(record)),
    check: ["the log's collector at that time, its rate limits, and the log file on the node itself"],
  };
}

/** How many numbers are not there between the first and the last kept line, if more than chance. */
function missingLines({ run, samples }: Facts): number | undefined {
  const first = samples.find(({ tsMs }) => tsMs >= run.completeFromMs)?.seq;
  const last = samples.at(-1)?.seq;
  if (first === undefined || last === undefined) return undefined;
  const seen = new Set(
    [...samples, ...run.events, ...run.gpus].flatMap(({ seq }) =>
      seq !== undefined && seq >= first && seq <= last ? seq : []
    ),
  );
  const missing = last - first + 1 - seen.size;
  return missing >= MISSING_LINES && missing > MISSING_SHARE * (last - first) ? missing : undefined;
}

/** Nothing fits; what stands out is named. Always a finding. */
export function inconclusive(facts: Facts): Finding {
  const worst = anomalies(facts).slice(0, 3);
  const shown = worst.length > 0 ? worst.map(({ record, text }) => evidence(record, text)) : lastWords(facts);
  return {
    class: "inconclusive",
    confidence: "low",
    summary: facts.last === undefined
      ? "There is no sample to judge by"
      : facts.isQuiet
      ? "The watched process has ended; how, nothing here tells"
      : worst.length === 0
      ? "Nothing explains an end, and nothing stands out"
      : `Nothing explains an end by itself; what stands out: ${worst.map(({ text }) => text).join("; ")}`,
    evidence: shown,
    check: [
      "the job's exit status and end time: --job-exit and --ended tell a clean end from one from outside",
      "logs of other jobs on the node, given together with this one",
    ],
  };
}

function lastWords({ last, run }: Facts) {
  const record = run.end ?? last;
  return record === undefined ? [] : [evidence(record)];
}
