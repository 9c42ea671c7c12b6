/**
 * Why did it end? Rules in a fixed order look at what a log says; the first that fits is the verdict, the others are
 * told as also seen. Pure: the same log gives the same verdict.
 *
 * @module
 */
import { DEFAULT_TAG, formatLine, type LineFields } from "./line.ts";
import { Facts, type VerdictOptions } from "./report/facts.ts";
import { type History, HistoryBuilder, type Run } from "./report/history.ts";
import { notObservable } from "./report/not_observable.ts";
import { type LogRecord, recordsIn } from "./report/record.ts";
import { cleanEnd } from "./report/rules/clean_end.ts";
import { cpuStarvation, cpuThrottled, frozen } from "./report/rules/cpu.ts";
import { diskFault, diskFull, inodesFull, shmFull } from "./report/rules/disk.ts";
import { externalEnd, hostEvent, jobFailed, openEnd, politeEnd } from "./report/rules/endings.ts";
import { gpuFault } from "./report/rules/gpu.ts";
import { ioStall } from "./report/rules/io.ts";
import { kernelFault } from "./report/rules/kernel.ts";
import { memoryStarvation } from "./report/rules/memory.ts";
import { containedOom, fatalOom, otherOom } from "./report/rules/oom.ts";
import { pidsExhausted } from "./report/rules/pids.ts";
import { inconclusive, logLost, probeStopped } from "./report/rules/probe.ts";
import type { Finding, Rule, Verdict } from "./report/types.ts";

export type { Evidence } from "./report/evidence.ts";
export type { VerdictOptions } from "./report/facts.ts";
export type { Confidence, Finding, Verdict, VerdictClass } from "./report/types.ts";

/** What went wrong inside of the machine. */
const CAUSES: readonly Rule[] = [
  fatalOom("own"),
  fatalOom("global"),
  fatalOom("ancestor"),
  fatalOom("numa"),
  gpuFault,
  kernelFault,
  diskFault,
  diskFull,
  inodesFull,
  shmFull,
  pidsExhausted,
  memoryStarvation,
  ioStall,
  cpuThrottled,
  cpuStarvation,
  frozen,
];

/** How it ended where nothing did; a kill that was survived explains more than a log that just stops. */
const ENDINGS: readonly Rule[] = [
  politeEnd,
  hostEvent,
  externalEnd,
  probeStopped,
  containedOom,
  jobFailed,
  logLost,
  openEnd,
];

/** Worth telling beside any verdict. */
const NOTES: readonly Rule[] = [containedOom, otherOom, politeEnd, hostEvent, logLost];

/** Judges one run of a history: the last one, or `run`. */
export function verdictOf(
  history: History,
  options: VerdictOptions = {},
  run: Run | undefined = history.runs.at(-1),
): Verdict {
  const facts = new Facts(history, run ?? EMPTY_RUN, options);
  const see = (rules: readonly Rule[]) => rules.flatMap((rule) => rule(facts) ?? []);
  const causes = see(CAUSES);
  const ending = cleanEnd(facts) ?? causes[0] ?? see(ENDINGS)[0] ?? inconclusive(facts);
  const seen = [...causes, ...see(NOTES)].filter((finding) => finding.class !== ending.class);
  return { ...ending, alsoSeen: distinct(seen), notObservable: notObservable(facts) };
}

/** What the probe knows at its end beside the lines it printed. */
export interface LinesOptions extends VerdictOptions {
  readonly tag?: string;
  /** Fields of the end line that is about to be written. */
  readonly end?: LineFields;
}

/** Judges lines that are still at hand, as the probe itself does at its end. Whole lines, in any order. */
export function verdictOfLines(lines: Iterable<string>, options: LinesOptions = {}): Verdict {
  const { tag = DEFAULT_TAG, end, ...known } = options;
  const builder = new HistoryBuilder();
  let newest: LogRecord | undefined;
  function add(line: string): void {
    for (const found of recordsIn(line.trimEnd(), tag, true)) {
      if (!("record" in found)) continue;
      builder.add(found.record);
      if (newest === undefined || found.record.tsMs >= newest.tsMs) newest = found.record;
    }
  }
  for (const line of lines) add(line);
  if (end !== undefined && newest !== undefined) {
    add(formatLine(tag, "end", { wallMs: newest.tsMs, monoMs: newest.monoMs ?? 0 }, end));
  }
  return verdictOf(builder.finish("memory"), known);
}

function distinct(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((finding) => [finding.class, finding])).values()];
}

const EMPTY_RUN: Run = {
  start: undefined,
  end: undefined,
  samples: [],
  overview: [],
  overviewStride: 1,
  events: [],
  gpus: [],
  sampleCount: 0,
  completeFromMs: 0,
  next: undefined,
};
