/**
 * What the rules ask of a run, computed once: the interval, the last sample, how the job ended and when, shares of
 * time by the monotonic clock. A value that the log does not have is undefined, never zero.
 *
 * @module
 */
import type { SampleKey } from "../keys.ts";
import type { Evidence } from "./evidence.ts";
import type { History, Run } from "./history.ts";
import type { LogRecord } from "./record.ts";

/** What the caller knows and the log may not. */
export interface VerdictOptions {
  /** The job's exit status, 128+n when signal n ended it. */
  readonly jobExit?: number | undefined;
  /** When the job ended, milliseconds since the epoch. */
  readonly endedMs?: number | undefined;
  /** Other logs of the same node. */
  readonly siblings?: readonly Sibling[];
}

/** The end of another log of the node. */
export interface Sibling {
  readonly name: string;
  readonly lastMs: number;
  /** It said goodbye: it was not cut off. */
  readonly hasEnd: boolean;
  readonly bootId: string | undefined;
  readonly last: Evidence | undefined;
}

/** A mean over some time, and the samples it was computed from. */
export interface Window {
  readonly mean: number;
  readonly spanMs: number;
  readonly first: LogRecord;
  readonly last: LogRecord;
}

const DEFAULT_INTERVAL_MS = 3_000;
/** A sign of trouble that is older than this when the log ends is history. */
const RECENT_MS = 120_000;
/** Starvation must reach the end, give or take. */
const STARVATION_RECENT_MS = 60_000;
/** A transport's delay, and the second that a job's end is rounded to. */
const SLACK_MS = 5_000;

const QUIET_EVENTS = new Set(["quiet", "awake"]);

/** See the module's description. */
export class Facts {
  readonly run: Run;
  readonly history: History;
  readonly options: VerdictOptions;
  readonly samples: readonly LogRecord[];
  readonly last: LogRecord | undefined;
  /** The newest line of the run, whatever its kind. */
  readonly lastMs: number;
  readonly intervalMs: number;
  /** The probe outlived the job, as one of a host does: what it said later is left out. */
  readonly wentOn: boolean;

  constructor(history: History, run: Run, options: VerdictOptions = {}) {
    this.history = history;
    this.options = options;
    this.intervalMs = run.start?.number("interval_ms") ?? medianGap(run.samples) ?? DEFAULT_INTERVAL_MS;
    const { endedMs = Infinity } = options;
    this.wentOn = newestMs(run) > endedMs + this.silenceMs;
    this.run = this.wentOn ? until(run, endedMs + this.intervalMs) : run;
    this.samples = this.run.samples;
    this.last = this.samples.at(-1);
    this.lastMs = newestMs(this.run);
  }

  /** After so long without a sample something is wrong, and so long after a kill the job has outlived it. */
  get patienceMs(): number {
    return Math.max(3 * this.intervalMs, 15_000);
  }

  /** A gap that two samples and a transport may have between them. */
  get silenceMs(): number {
    return 1.5 * this.intervalMs + SLACK_MS;
  }

  /** The job's exit status, from the caller or the end line. */
  get exit(): number | undefined {
    return this.options.jobExit ?? this.run.end?.number("code");
  }

  /** What the cgroup may have: its own limit, or the least one above it. */
  get limitBytes(): number | undefined {
    return this.last?.number("mem_max") ?? this.run.start?.number("mem_limit_effective_bytes");
  }

  /** With --while-process: the watched process has ended, and silence since then means nothing. */
  get isQuiet(): boolean {
    return this.run.events.findLast((event) => QUIET_EVENTS.has(event.get("event") ?? ""))?.get("event") ===
      "quiet";
  }

  /** When the job ended or was last heard of, if anything but the probe says so. */
  get knownEndMs(): number | undefined {
    const { endedMs } = this.options;
    if (endedMs !== undefined) return endedMs;
    const { lastOtherMs } = this.history;
    const isLater = lastOtherMs !== undefined && lastOtherMs > this.lastMs && this.run.next === undefined;
    return isLater ? lastOtherMs : undefined;
  }

  /** How long the job lived on after the probe's last line; undefined where nothing tells. */
  get outlivedMs(): number | undefined {
    return this.knownEndMs === undefined ? undefined : this.knownEndMs - this.lastMs;
  }

  /** A value of the last sample that has it, if that is recent. */
  recent(key: SampleKey): { value: number; record: LogRecord } | undefined {
    for (const record of this.samples.toReversed()) {
      if (this.#age(record) > STARVATION_RECENT_MS) return undefined;
      const value = record.number(key);
      if (value !== undefined) return { value, record };
    }
    return undefined;
  }

  /** The largest value of a key in what is kept of the run. */
  largest(key: SampleKey): number | undefined {
    const values = [...this.run.overview, ...this.samples].flatMap((record) => record.number(key) ?? []);
    return values.length === 0 ? undefined : values.reduce((a, b) => Math.max(a, b));
  }

  /** Whether any sample has the key. */
  has(key: SampleKey): boolean {
    return this.samples.some((record) => record.fields.has(key));
  }

  /** Events by name that belong to this run, not to the kernel's history before it. */
  events(name: string): LogRecord[] {
    return this.run.events.filter((event) => event.get("event") === name && event.get("old") !== "true");
  }

  /** Kernel lines with one of these tags, shortly before the end. */
  recentKernel(...tags: string[]): LogRecord[] {
    return this.recentEvents("kernel").filter((event) => tags.includes(event.get("tag") ?? ""));
  }

  recentEvents(...names: string[]): LogRecord[] {
    return this.run.events.filter((event) =>
      names.includes(event.get("event") ?? "") && event.get("old") !== "true" && this.#age(event) <= RECENT_MS
    );
  }

  /** Whether a record is close enough to the run's end to have to do with it. */
  isRecent(record: LogRecord): boolean {
    return this.#age(record) <= RECENT_MS;
  }

  #age(record: LogRecord): number {
    return this.lastMs - record.tsMs;
  }

  /** The worst mean of a share of time in percent over at least `spanMs`, near the end. Key: a `*_usec` delta. */
  worstShare(key: SampleKey, spanMs: number): Window | undefined {
    return this.#worst(spanMs, (record, gapMs) => share(record, key, gapMs));
  }

  /** The same for a gauge in percent. */
  worstMean(key: SampleKey, spanMs: number): Window | undefined {
    return this.#worst(spanMs, (record) => record.number(key));
  }

  /** The mean of a gauge in a window that another key gave. */
  meanIn({ first, last }: Window, key: SampleKey): number | undefined {
    const inside = this.samples.slice(this.samples.indexOf(first), this.samples.indexOf(last) + 1);
    const values = inside.flatMap((record) => record.number(key) ?? []);
    return values.length === 0 ? undefined : values.reduce((a, b) => a + b) / values.length;
  }

  /** Slides a window over the last samples; weights are the gaps before them. */
  #worst(
    spanMs: number,
    valueOf: (record: LogRecord, gapMs: number) => number | undefined,
  ): Window | undefined {
    const recent = this.samples.filter((record) => this.#age(record) <= STARVATION_RECENT_MS + spanMs);
    let worst: Window | undefined;
    let sum = 0;
    let span = 0;
    const held: { record: LogRecord; value: number; gapMs: number }[] = [];
    for (const [index, record] of recent.entries()) {
      const gapMs = gapBefore(recent, index);
      const value = gapMs === undefined ? undefined : valueOf(record, gapMs);
      if (value === undefined || gapMs === undefined) {
        held.length = sum = span = 0;
        continue;
      }
      held.push({ record, value, gapMs });
      sum += value * gapMs;
      span += gapMs;
      while (span - held[0]!.gapMs >= spanMs) {
        const gone = held.shift()!;
        sum -= gone.value * gone.gapMs;
        span -= gone.gapMs;
      }
      if (span < spanMs || this.#age(record) > STARVATION_RECENT_MS) continue;
      if (worst === undefined || sum / span > worst.mean) {
        worst = { mean: sum / span, spanMs: span, first: held[0]!.record, last: record };
      }
    }
    return worst;
  }
}

function newestMs({ start, end, samples, events, gpus }: Run): number {
  const newest = [start, end, samples.at(-1), events.at(-1), gpus.at(-1)];
  return Math.max(0, ...newest.map((record) => record?.tsMs ?? 0));
}

/** A run as it was at a moment. */
function until(run: Run, tsMs: number): Run {
  const before = (records: readonly LogRecord[]) => records.filter((record) => record.tsMs <= tsMs);
  return {
    ...run,
    end: undefined,
    next: undefined,
    samples: before(run.samples),
    overview: before(run.overview),
    events: before(run.events),
    gpus: before(run.gpus),
  };
}

/** Percent of the time before a sample that a `*_usec` delta says. */
export function share(record: LogRecord, key: SampleKey, gapMs: number): number | undefined {
  const usec = record.number(key);
  return usec === undefined || gapMs <= 0 ? undefined : usec / 10 / gapMs;
}

/** Milliseconds between a sample and the one before it; undefined for the first. */
export function gapBefore(records: readonly LogRecord[], index: number): number | undefined {
  const [before, record] = [records[index - 1], records[index]];
  if (before === undefined || record === undefined) return undefined;
  if (before.monoMs !== undefined && record.monoMs !== undefined) return record.monoMs - before.monoMs;
  return record.tsMs - before.tsMs;
}

function medianGap(samples: readonly LogRecord[]): number | undefined {
  const gaps = samples.slice(-64).map((_, index, recent) => gapBefore(recent, index))
    .filter((gap) => gap !== undefined && gap > 0) as number[];
  return gaps.sort((a, b) => a - b)[gaps.length >> 1];
}
