/**
 * A judged log for people, in plain lines; and for programs, as one object.
 *
 * @module
 */
import { escapeForTerminal } from "../../host/logfmt.ts";
import { formatDuration } from "../../units.ts";
import type { Evidence } from "./evidence.ts";
import type { Run } from "./history.ts";
import type { JudgedLog } from "./report.ts";
import type { Finding, VerdictClass } from "./types.ts";

/** Each class in words, for headings. */
export const TITLES: Readonly<Record<VerdictClass, string>> = {
  clean_end: "clean end",
  oom_own: "out of memory: own cgroup",
  oom_contained: "out of memory, survived",
  oom_guest: "out of memory: whole machine",
  oom_ancestor: "out of memory: pod or other cgroup above",
  oom_other: "out of memory elsewhere",
  oom_numa: "out of memory: bound NUMA nodes",
  gpu_fault: "GPU fault",
  kernel_fault: "kernel fault or reboot",
  disk_full: "disk full",
  inodes_full: "out of inodes",
  shm_full: "/dev/shm full",
  disk_fault: "disk or filesystem failed",
  pids_exhausted: "out of tasks or files",
  memory_starvation: "memory starvation",
  io_stall: "I/O stall",
  cpu_starvation: "CPU starvation",
  cpu_throttled: "CPU throttled by quota",
  frozen: "stood still",
  polite_end: "asked to end",
  job_failed: "job failed by itself",
  host_event: "host event",
  external_end: "ended from outside",
  probe_stopped: "probe stopped, job went on",
  log_lost: "log incomplete",
  inconclusive: "inconclusive",
};

/** `text` with control, direction and invisible characters as \uXXXX; all else verbatim, for whoever searches it. */
export function shown(text: string): string {
  return escapeForTerminal(text);
}

/** One log's report. */
export function formatReport(log: JudgedLog): string {
  const { history, run, verdict, earlier } = log;
  const lines = [
    `${shown(history.name)}: ${TITLES[verdict.class]} (${verdict.class}), confidence ${verdict.confidence}`,
    `  ${shown(verdict.summary)}`,
    ...section("evidence", verdict.evidence.flatMap(evidenceLines)),
    ...section("also seen", verdict.alsoSeen.flatMap(alsoSeenLines)),
    ...section("not observable", verdict.notObservable.map(shown)),
    ...section("check next", verdict.check),
    ...section(
      "earlier runs in this log",
      earlier.map(({ run: before, verdict: { class: name, summary } }) =>
        `${time(before.start?.tsMs ?? before.samples[0]?.tsMs)} ${name}: ${shown(summary)}`
      ),
    ),
    `  log: ${run === undefined ? "no line of a probe" : describe(run)}${leftOut(log)}`,
  ];
  return lines.join("\n");
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`  ${title}:`, ...lines.map((line) => `    ${line}`)];
}

function evidenceLines({ text, note }: Evidence): string[] {
  return [shown(text), ...note === undefined ? [] : [`  (${shown(note)})`]];
}

function alsoSeenLines({ class: name, confidence, summary, evidence }: Finding): string[] {
  return [
    `${TITLES[name]} (${name}), ${confidence}: ${shown(summary)}`,
    ...evidence.slice(-2).map(({ text }) => `  ${shown(text)}`),
  ];
}

function describe({ start, end, samples, sampleCount, events, gpus }: Run): string {
  const from = start?.tsMs ?? samples[0]?.tsMs;
  const to = end?.tsMs ?? samples.at(-1)?.tsMs ?? from;
  const span = from === undefined || to === undefined ? "" : `, ${formatDuration(to - from)}`;
  return `${time(from)} to ${time(to)}${span}, ${sampleCount} samples, ${events.length} events${
    gpus.length === 0 ? "" : `, ${gpus.length} GPU lines`
  }`;
}

function leftOut({ history: { duplicates, torn } }: JudgedLog): string {
  const parts = [duplicates > 0 && `${duplicates} lines came twice`, torn > 0 && `${torn} torn`];
  return parts.filter(Boolean).map((part) => `, ${part}`).join("");
}

function time(ms: number | undefined): string {
  return ms === undefined ? "?" : new Date(ms).toISOString();
}

/** The same for `--json`. */
export function reportJson({ history, run, verdict, earlier }: JudgedLog): Record<string, unknown> {
  return {
    log: history.name,
    dialect: history.dialect ?? null,
    class: verdict.class,
    confidence: verdict.confidence,
    summary: verdict.summary,
    evidence: verdict.evidence.map(evidenceJson),
    also_seen: verdict.alsoSeen.map((finding) => ({
      class: finding.class,
      confidence: finding.confidence,
      summary: finding.summary,
      evidence: finding.evidence.map(evidenceJson),
    })),
    not_observable: verdict.notObservable,
    check: verdict.check,
    earlier_runs: earlier.map(({ run: before, verdict: { class: name, summary } }) => ({
      started: isoOrNull(before.start?.tsMs ?? before.samples[0]?.tsMs),
      class: name,
      summary,
    })),
    start: run?.start === undefined ? null : Object.fromEntries(run.start.fields),
    first: isoOrNull(run?.start?.tsMs ?? run?.samples[0]?.tsMs),
    last: isoOrNull(run?.end?.tsMs ?? run?.samples.at(-1)?.tsMs),
    samples: run?.sampleCount ?? 0,
    duplicates: history.duplicates,
    torn: history.torn,
  };
}

function evidenceJson({ tsMs, text, note }: Evidence): Record<string, unknown> {
  return { ts: new Date(tsMs).toISOString(), line: text, ...note !== undefined && { note } };
}

function isoOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
