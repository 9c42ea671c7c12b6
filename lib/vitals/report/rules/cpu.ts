/**
 * The job, and the probe beside it, did not get to run: its quota throttled it, a hypervisor took the CPUs, too many
 * wanted them, or all stood still for a while.
 *
 * @module
 */
import { evidence } from "../evidence.ts";
import { type Facts, gapBefore } from "../facts.ts";
import type { LogRecord } from "../record.ts";
import type { Finding } from "../types.ts";

const LATE_MS = 500;
const LATE_IN_A_ROW = 3;
const SOME_PERCENT = 80;
const SOME_SPAN_MS = 30_000;
const THROTTLED_PERCENT = 25;
/** Throttled so much that no other sign is needed. */
const THROTTLED_ALONE_PERCENT = 60;
const THROTTLED_SPAN_MS = 10_000;
const STEAL_PERCENT = 10;
/** Runnable tasks per CPU. */
const OVERCOMMIT = 4;

/** The cgroup's own quota held it back. */
export function cpuThrottled(facts: Facts): Finding | undefined {
  const window = facts.worstShare("cpu_throttled_usec", THROTTLED_SPAN_MS);
  if (window === undefined || window.mean < THROTTLED_PERCENT) return undefined;
  if (window.mean < THROTTLED_ALONE_PERCENT && starvedSigns(facts) === undefined) return undefined;
  return {
    class: "cpu_throttled",
    confidence: "medium",
    summary: `The cgroup's CPU quota held the job back ${window.mean.toFixed(0)} % of ${
      (window.spanMs / 1000).toFixed(0)
    } s, summed over its CPUs`,
    evidence: [evidence(window.first), evidence(window.last)],
    check: ["the CPU limit (cpu.max): data loaders and compilers need more than the mean for a moment"],
  };
}

/** Others had the CPUs, on this machine or below it. */
export function cpuStarvation(facts: Facts): Finding | undefined {
  const signs = starvedSigns(facts);
  if (signs === undefined) return undefined;
  const steal = facts.worstMean("cpu_steal_pct", THROTTLED_SPAN_MS);
  const isStolen = steal !== undefined && steal.mean > STEAL_PERCENT;
  const [load, cpus] = [facts.last?.number("load1"), facts.run.start?.number("cpus")];
  const isOvercommitted = load !== undefined && cpus !== undefined && load > OVERCOMMIT * cpus;
  return {
    class: "cpu_starvation",
    confidence: "medium",
    summary: isStolen
      ? `The hypervisor gave ${steal.mean.toFixed(0)} % of the CPUs to others`
      : isOvercommitted
      ? `${load} tasks wanted ${cpus} CPUs`
      : "There was not enough CPU for all who wanted to run",
    evidence: signs.map((record) => evidence(record)),
    check: [
      isStolen
        ? "the host of this guest: it is overcommitted"
        : "who else ran on the machine: load1 against its CPUs",
    ],
  };
}

/** Samples that were late several times in a row, or long CPU pressure. */
function starvedSigns(facts: Facts): LogRecord[] | undefined {
  const barMs = Math.max(LATE_MS, facts.intervalMs / 2);
  const recent = facts.samples.filter((sample) => facts.isRecent(sample));
  let late: LogRecord[] = [];
  for (const sample of recent) {
    late = (sample.number("late_ms") ?? 0) > barMs ? [...late, sample] : [];
    if (late.length >= LATE_IN_A_ROW) return late;
  }
  const some = facts.worstShare("cpu_psi_some_usec", SOME_SPAN_MS) ??
    facts.worstMean("cpu_psi_some_avg10", SOME_SPAN_MS);
  return some !== undefined && some.mean >= SOME_PERCENT ? [some.first, some.last] : undefined;
}

/** A gap after which the same probe went on. */
export function frozen(facts: Facts): Finding | undefined {
  const recent = facts.samples;
  for (let index = recent.length - 1; index > 0 && facts.isRecent(recent[index]!); index--) {
    const gapMs = gapBefore(recent, index)!;
    const isMissing = gapMs > facts.patienceMs && isNext(recent[index - 1]!, recent[index]!, facts);
    if (!isMissing) continue;
    const resume = facts.recentEvents("resume").at(-1);
    return {
      class: "frozen",
      confidence: "medium",
      summary: `The probe stood still for ${(gapMs / 1000).toFixed(0)} s and then went on`,
      evidence: [recent[index - 1]!, ...resume === undefined ? [] : [resume], recent[index]!].map((record) =>
        evidence(record)
      ),
      check: [
        "a suspended or migrated guest, a frozen cgroup, a stopped process (SIGSTOP), a blocked output",
      ],
    };
  }
  return undefined;
}

/** Whether nothing between two samples was lost on the way, and the probe was not quiet because nothing ran. */
function isNext(before: LogRecord, after: LogRecord, { run }: Facts): boolean {
  const [from, to] = [before.seq, after.seq];
  if (from === undefined || to === undefined) return false;
  const between = [...run.events, ...run.gpus].filter(({ seq = -1 }) => seq > from && seq < to);
  if (between.some((record) => record.get("event") === "quiet")) return false;
  return to - from - 1 <= new Set(between.map(({ seq }) => seq)).size;
}
