/**
 * What a log says of each run of a probe, in bounded memory: the newest samples in full, the whole run thinned out,
 * events, GPUs, start and end. Lines may come in any order, twice, and from several runs and boots: a run reaches
 * from its start line to the next one.
 *
 * @module
 */
import type { Dialect, LogRecord } from "./record.ts";
import { Newest } from "./newest.ts";
import { Overview } from "./overview.ts";

/** One run of a probe. */
export interface Run {
  readonly start: LogRecord | undefined;
  readonly end: LogRecord | undefined;
  /** The newest ones, in order, none left out. */
  readonly samples: readonly LogRecord[];
  /** The whole run in at most {@linkcode Overview.limit} samples. */
  readonly overview: readonly LogRecord[];
  /** Every how many-th sample `overview` has. */
  readonly overviewStride: number;
  readonly events: readonly LogRecord[];
  readonly gpus: readonly LogRecord[];
  readonly sampleCount: number;
  /** From here on every line is kept that the log has. */
  readonly completeFromMs: number;
  /** The start line of the run after this one in the same log. */
  readonly next: LogRecord | undefined;
}

/** What one writer left in a log. */
export interface History {
  /** The file, and the pod where the file names several. */
  readonly name: string;
  readonly dialect: Dialect | undefined;
  /** Oldest first; empty when no line was found. */
  readonly runs: readonly Run[];
  readonly duplicates: number;
  /** Lines of ours whose end or beginning is missing. */
  readonly torn: number;
  /** The time of the newest line of any writer, by the transport's own stamps. */
  readonly lastOtherMs: number | undefined;
}

const SAMPLES_KEPT = 2_048;
/** Earlier runs are told in one line each; their ends suffice. */
const EARLIER_SAMPLES_KEPT = 256;
const EVENTS_KEPT = 512;
/** Apart from other events: no flood of those may push one out. */
const KILLS_KEPT = 128;
const GPU_LINES_KEPT = 4_096;
const ENDS_KEPT = 4;
const RUNS_KEPT = 16;

interface Segment {
  start: LogRecord | undefined;
  samples: Newest;
  overview: Overview;
  events: Newest;
  kills: Newest;
  gpus: Newest;
  ends: Newest;
  sampleCount: number;
}

function emptySegment(start?: LogRecord): Segment {
  return {
    start,
    samples: new Newest(SAMPLES_KEPT),
    overview: new Overview(),
    events: new Newest(EVENTS_KEPT),
    kills: new Newest(KILLS_KEPT),
    gpus: new Newest(GPU_LINES_KEPT),
    ends: new Newest(ENDS_KEPT),
    sampleCount: 0,
  };
}

/** Gathers the records of one writer. */
export class HistoryBuilder {
  /** By start; the first may have none. */
  #segments: Segment[] = [emptySegment()];
  #dialect: Dialect | undefined;
  #duplicates = 0;
  torn = 0;
  lastOtherMs: number | undefined;

  add(record: LogRecord): void {
    this.#dialect ??= record.dialect;
    if (record.kind === "start") return this.#addStart(record);
    this.#addTo(this.#segmentAt(record.tsMs), record);
  }

  #addTo(segment: Segment, record: LogRecord): void {
    if (!segment[setOf(record)].add(record)) {
      this.#duplicates++;
      return;
    }
    if (record.kind !== "sample") return;
    segment.sampleCount++;
    segment.overview.add(record);
  }

  #segmentAt(tsMs: number): Segment {
    for (let index = this.#segments.length - 1; index > 0; index--) {
      const segment = this.#segments[index]!;
      if (segment.start!.tsMs <= tsMs) return segment;
    }
    return this.#segments[0]!;
  }

  #addStart(start: LogRecord): void {
    const segment = this.#segmentAt(start.tsMs);
    if (this.#segments.some(({ start: known }) => known?.text === start.text)) {
      this.#duplicates++;
      return;
    }
    const index = this.#segments.indexOf(segment);
    const oldest = oldestOf(segment);
    if (oldest !== undefined && oldest >= start.tsMs) {
      // Newest first: all that came so far belongs to the run that begins here.
      this.#segments.splice(index, 0, emptySegment(segment.start));
      segment.start = start;
    } else {
      const later = emptySegment(start);
      for (const name of SET_NAMES) {
        // A goodbye in the very millisecond of the next start belongs to the run before.
        const from = name === "ends" ? start.tsMs + 1 : start.tsMs;
        for (const record of segment[name].takeFrom(from)) this.#addTo(later, record);
      }
      segment.sampleCount -= later.sampleCount;
      segment.overview.dropFrom(start.tsMs);
      this.#segments.splice(index + 1, 0, later);
    }
    this.#forgetOldest();
  }

  /** Only the last run is kept in full. */
  #forgetOldest(): void {
    if (this.#segments.length > RUNS_KEPT + 1) {
      this.#segments.splice(0, this.#segments.length - RUNS_KEPT - 1);
    }
    const earlier = this.#segments.at(-2);
    if (earlier === undefined || earlier.samples.limit === EARLIER_SAMPLES_KEPT) return;
    const short = new Newest(EARLIER_SAMPLES_KEPT);
    short.hasForgotten = earlier.samples.hasForgotten;
    for (const record of earlier.samples.records) short.add(record);
    earlier.samples = short;
  }

  finish(name: string): History {
    const used = this.#segments.filter((segment) =>
      segment.start !== undefined || oldestOf(segment) !== undefined
    );
    return {
      name,
      dialect: this.#dialect,
      runs: used.map((segment, index) => runOf(segment, used[index + 1]?.start)),
      duplicates: this.#duplicates,
      torn: this.torn,
      lastOtherMs: this.lastOtherMs,
    };
  }
}

const SET_NAMES = ["samples", "events", "kills", "gpus", "ends"] as const;

function setOf({ kind, text }: LogRecord): typeof SET_NAMES[number] {
  if (kind === "event") return / event=oom |kmsg\.oom /.test(text) ? "kills" : "events";
  return kind === "gpu" ? "gpus" : kind === "end" ? "ends" : "samples";
}

function oldestOf(segment: Segment): number | undefined {
  const times = SET_NAMES.flatMap((name) => segment[name].oldest?.tsMs ?? []);
  return times.length === 0 ? undefined : Math.min(...times);
}

function runOf(segment: Segment, next: LogRecord | undefined): Run {
  const events = [...segment.events.records, ...segment.kills.records].sort((a, b) => a.tsMs - b.tsMs);
  const forgetful = SET_NAMES.map((name) => segment[name]).filter(({ hasForgotten }) => hasForgotten);
  // After a step of the wall clock only the monotonic one knows the order.
  const order = events.some((event) => event.get("event") === "clock_step") ? byMonotonicClock : unchanged;
  return {
    start: segment.start,
    end: segment.ends.newest,
    samples: order(segment.samples.records),
    overview: segment.overview.records(),
    overviewStride: segment.overview.stride,
    events: order(events),
    gpus: order(segment.gpus.records),
    sampleCount: segment.sampleCount,
    completeFromMs: Math.max(0, ...forgetful.map(({ records }) => records[0]?.tsMs ?? 0)),
    next,
  };
}

type Order = (records: readonly LogRecord[]) => readonly LogRecord[];
const unchanged: Order = (records) => records;
const byMonotonicClock: Order = (records) =>
  records.toSorted((a, b) => (a.monoMs ?? a.tsMs) - (b.monoMs ?? b.tsMs));
