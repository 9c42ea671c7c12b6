/**
 * A run as numbers to draw: one time axis, panels of series, marks for events, gaps in which nothing was heard.
 *
 * @module
 */
import type { SampleKey } from "../keys.ts";
import { Facts, gapBefore, share } from "./facts.ts";
import type { History, Run } from "./history.ts";
import type { LogRecord } from "./record.ts";
import { shown } from "./text.ts";

/** How values of a panel are written. */
export type Unit = "bytes" | "bytes_per_s" | "percent" | "count" | "celsius" | "watt" | "milliseconds";

/** One line of a panel; null where there is no value. */
export interface Series {
  readonly label: string;
  readonly values: readonly (number | null)[];
}

/** One chart. */
export interface Panel {
  readonly title: string;
  readonly unit: Unit;
  /** Seconds since the epoch. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
}

/** Something that happened. */
export interface Mark {
  readonly time: number;
  readonly label: string;
  readonly kind: "kill" | "fault" | "note";
}

/** Everything that is drawn of a run. */
export interface Drawing {
  readonly panels: readonly Panel[];
  readonly marks: readonly Mark[];
  readonly gaps: readonly (readonly [from: number, to: number])[];
}

const MARKS_LIMIT = 200;
const GPUS_LIMIT = 16;

/** A sample and how long it counted: of a thinned-out run only the last of several is here. */
interface Point {
  readonly record: LogRecord;
  readonly gapMs: number | undefined;
  /** Nothing was heard before it for too long. */
  readonly isAfterGap: boolean;
  /** Nothing was to be heard: no watched process ran. */
  readonly wasQuiet: boolean;
}

type ValueOf = (point: Point) => number | undefined;

/** What to draw of `run`. */
export function drawingOf(history: History, run: Run): Drawing {
  const facts = new Facts(history, run);
  const points = pointsOf(facts);
  const panels = [
    ...PANELS.map(({ title, unit, lines }) => panelOf(title, unit, lines, points)),
    ...gpuPanels(run),
  ];
  return {
    panels: panels.filter(({ series }) => series.length > 0),
    marks: marksOf(run),
    gaps: points.flatMap(({ record, isAfterGap, wasQuiet }, index) =>
      isAfterGap && !wasQuiet ? [[seconds(points[index - 1]!.record), seconds(record)] as const] : []
    ),
  };
}

function pointsOf({ run, samples, intervalMs, patienceMs }: Facts): Point[] {
  const quiet = run.events.filter((event) => event.get("event") === "quiet").map(({ tsMs }) => tsMs);
  const firstMs = samples[0]?.tsMs ?? Infinity;
  const thinned = run.overview.filter(({ tsMs }) => tsMs < firstMs);
  const all = [...thinned, ...samples];
  return all.map((record, index) => {
    const isThinned = index <= thinned.length && run.overviewStride > 1;
    const gapMs = gapBefore(all, index);
    const allowedMs = patienceMs * (isThinned ? run.overviewStride : 1);
    return {
      record,
      gapMs: isThinned && gapMs !== undefined ? Math.min(gapMs, intervalMs) : gapMs,
      isAfterGap: gapMs !== undefined && gapMs > allowedMs,
      wasQuiet: quiet.some((tsMs) => tsMs >= (all[index - 1]?.tsMs ?? Infinity) && tsMs <= record.tsMs),
    };
  });
}

const gauge = (key: SampleKey, factor = 1): ValueOf => ({ record }) => {
  const value = record.number(key);
  return value === undefined ? undefined : value * factor;
};
const timeShare = (key: SampleKey): ValueOf => ({ record, gapMs }) =>
  gapMs === undefined ? undefined : share(record, key, gapMs);
const rate = (key: SampleKey): ValueOf => ({ record, gapMs }) => {
  const bytes = record.number(key);
  return bytes === undefined || gapMs === undefined || gapMs <= 0 ? undefined : bytes * 1000 / gapMs;
};
const either = (first: ValueOf, second: ValueOf): ValueOf => (point) => first(point) ?? second(point);

const PANELS: readonly { title: string; unit: Unit; lines: readonly (readonly [string, ValueOf])[] }[] = [
  {
    title: "Memory",
    unit: "bytes",
    lines: [
      ["cgroup", gauge("mem_current")],
      ["cgroup limit", gauge("mem_max")],
      ["anonymous", gauge("mem_anon_bytes")],
      ["shared", gauge("mem_shmem_bytes")],
      ["machine available", gauge("vm_mem_avail_kb", 1024)],
    ],
  },
  {
    title: "Pressure: share of time in which tasks waited",
    unit: "percent",
    lines: [
      ["memory, all", either(timeShare("mem_psi_full_usec"), gauge("mem_psi_full_avg10"))],
      ["memory, some", either(timeShare("mem_psi_some_usec"), gauge("mem_psi_some_avg10"))],
      ["I/O, all", timeShare("io_psi_full_usec")],
      ["I/O, some", either(timeShare("io_psi_some_usec"), gauge("io_psi_some_avg10"))],
      ["CPU, some", either(timeShare("cpu_psi_some_usec"), gauge("cpu_psi_some_avg10"))],
    ],
  },
  {
    title: "CPU",
    unit: "percent",
    lines: [
      ["busy", gauge("cpu_busy_pct")],
      ["steal", gauge("cpu_steal_pct")],
      ["throttled", timeShare("cpu_throttled_usec")],
    ],
  },
  {
    title: "Room on disks",
    unit: "bytes",
    lines: [
      ["/", gauge("disk_root_avail_bytes")],
      ["working directory", gauge("disk_work_avail_bytes")],
      ["/dev/shm", gauge("shm_avail_bytes")],
    ],
  },
  {
    title: "Free inodes",
    unit: "count",
    lines: [["/", gauge("disk_root_avail_inodes")], ["working directory", gauge("disk_work_avail_inodes")]],
  },
  {
    title: "Disk and network",
    unit: "bytes_per_s",
    lines: [
      ["read", rate("io_read_bytes")],
      ["written", rate("io_write_bytes")],
      ["received", rate("net_rx_bytes")],
      ["sent", rate("net_tx_bytes")],
    ],
  },
  { title: "Tasks", unit: "count", lines: [["tasks", gauge("pids")], ["limit", gauge("pids_max")]] },
  { title: "Samples came late by", unit: "milliseconds", lines: [["late", gauge("late_ms")]] },
];

function panelOf(
  title: string,
  unit: Unit,
  lines: readonly (readonly [string, ValueOf])[],
  points: readonly Point[],
): Panel {
  const times: number[] = [];
  const columns: (number | null)[][] = lines.map(() => []);
  for (const point of points) {
    // A line must not be drawn across a gap.
    if (point.isAfterGap) {
      times.push(seconds(point.record) - 0.001);
      for (const column of columns) column.push(null);
    }
    times.push(seconds(point.record));
    for (const [index, [, valueOf]] of lines.entries()) columns[index]!.push(valueOf(point) ?? null);
  }
  const series = lines.map(([label], index) => ({ label, values: columns[index]! }));
  return {
    title,
    unit,
    times,
    series: series.filter(({ values }) => values.some((value) => value !== null)),
  };
}

const GPU_PANELS: readonly [title: string, unit: Unit, key: string, factor: number][] = [
  ["GPU use", "percent", "util_pct", 1],
  ["GPU memory", "bytes", "mem_used_mib", 1 << 20],
  ["GPU temperature", "celsius", "temp_c", 1],
  ["GPU power", "watt", "power_w", 1],
];

function gpuPanels({ gpus }: Run): Panel[] {
  const names = [...new Set(gpus.map((line) => line.get("gpu") ?? "?"))].sort().slice(0, GPUS_LIMIT);
  const times = [...new Set(gpus.map(seconds))].sort((a, b) => a - b);
  const places = new Map(times.map((time, index) => [time, index]));
  return GPU_PANELS.map(([title, unit, key, factor]) => {
    const series = names.map((name) => {
      const values: (number | null)[] = times.map(() => null);
      for (const line of gpus) {
        const value = line.number(key);
        if (line.get("gpu") === name && value !== undefined) {
          values[places.get(seconds(line))!] = value * factor;
        }
      }
      return { label: `GPU ${shown(name)}`, values };
    });
    return {
      title,
      unit,
      times,
      series: series.filter(({ values }) => values.some((value) => value !== null)),
    };
  });
}

const FAULTS = new Set(["gpu_lost", "gpu_hung", "resume"]);
const QUIET = new Set(["config", "quiet", "awake", "source_back"]);

function marksOf({ start, end, events }: Run): Mark[] {
  const marks: Mark[] = [];
  if (start !== undefined) marks.push({ time: seconds(start), label: "start", kind: "note" });
  for (const event of events) {
    const name = event.get("event") ?? "event";
    if (event.get("old") === "true" || QUIET.has(name)) continue;
    const isFault = name === "kernel" || FAULTS.has(name);
    const kind = name.startsWith("oom") ? "kill" : isFault ? "fault" : "note";
    marks.push({ time: seconds(event), label: shown(labelOf(event, name)), kind });
  }
  if (end !== undefined) marks.push({ time: seconds(end), label: "end", kind: "note" });
  return marks.slice(-MARKS_LIMIT);
}

function labelOf(event: LogRecord, name: string): string {
  if (name === "oom") return `OOM kill: ${event.get("comm") ?? "?"}`;
  if (name !== "kernel") return name;
  const xid = event.get("xid");
  return xid === undefined ? event.get("tag") ?? name : `Xid ${xid}`;
}

function seconds({ tsMs }: LogRecord): number {
  return tsMs / 1000;
}
