/**
 * Whether the last samples were those of a healthy machine, in numbers; and if not, which values stand out most.
 *
 * @module
 */
import type { SampleKey } from "../keys.ts";
import { type Facts, gapBefore, share } from "./facts.ts";
import type { LogRecord } from "./record.ts";

/** A value beyond what a healthy machine has; the worse, the larger. */
export interface Anomaly {
  readonly text: string;
  readonly badness: number;
  readonly record: LogRecord;
}

const SAMPLES = 3;
const KERNEL_QUIET_MS = 60_000;
const AVAILABLE_PERCENT = 15;
const LIMIT_PERCENT = 95;
const MEMORY_FULL_PERCENT = 5;
const IO_FULL_PERCENT = 20;
const LATE_MS = 250;
/** Tags of kernel lines that do not speak against a machine's health. */
const HARMLESS = new Set(["netdev", "segfault"]);

/** Enough samples at the end to speak of health, and nothing in them against it. */
export function isHealthy(facts: Facts): boolean {
  return facts.samples.length >= SAMPLES && anomalies(facts).length === 0;
}

/** What stands out in the last samples and the last minute, the worst first. */
export function anomalies(facts: Facts): Anomaly[] {
  const found: Anomaly[] = [];
  const first = Math.max(0, facts.samples.length - SAMPLES);
  for (let index = first; index < facts.samples.length; index++) {
    found.push(...inSample(facts.samples[index]!, gapBefore(facts.samples, index)));
  }
  const kernel = facts.recentEvents("kernel").filter((event) =>
    facts.lastMs - event.tsMs <= KERNEL_QUIET_MS && !HARMLESS.has(event.get("tag") ?? "")
  );
  found.push(...kernel.map((record) => ({ text: `kernel: ${record.get("tag")}`, badness: 2, record })));
  const worst = new Map<string, Anomaly>();
  for (const anomaly of found.sort((a, b) => b.badness - a.badness)) {
    const name = anomaly.text.split(" ", 1)[0]!;
    if (!worst.has(name)) worst.set(name, anomaly);
  }
  return [...worst.values()];
}

function inSample(record: LogRecord, gapMs: number | undefined): Anomaly[] {
  const found: Anomaly[] = [];
  function above(name: string, value: number | undefined, bar: number, unit: string): void {
    if (value === undefined || value <= bar) return;
    found.push({
      text: `${name} ${round(value)}${unit}, healthy below ${bar}${unit}`,
      badness: value / bar,
      record,
    });
  }
  const of = (key: SampleKey) => record.number(key);
  const stalled = (key: SampleKey) => gapMs === undefined ? undefined : share(record, key, gapMs);
  const available = ratio(of("vm_mem_avail_kb"), of("vm_mem_total_kb"));
  if (available !== undefined && available < AVAILABLE_PERCENT) {
    found.push({
      text: `vm_mem_avail_kb ${
        round(available)
      } % of the machine's memory, healthy above ${AVAILABLE_PERCENT} %`,
      badness: AVAILABLE_PERCENT / Math.max(available, 0.1),
      record,
    });
  }
  // A cgroup full of page cache is well; what cannot be dropped counts.
  const held = of("mem_anon_bytes") === undefined
    ? of("mem_current")
    : of("mem_anon_bytes")! + (of("mem_shmem_bytes") ?? 0);
  above("mem_current", ratio(held, of("mem_max")), LIMIT_PERCENT, " % of the limit");
  above("mem_psi_full", stalled("mem_psi_full_usec") ?? of("mem_psi_full_avg10"), MEMORY_FULL_PERCENT, " %");
  above("io_psi_full", stalled("io_psi_full_usec"), IO_FULL_PERCENT, " %");
  above("late_ms", of("late_ms"), LATE_MS, " ms");
  return found;
}

function ratio(part: number | undefined, whole: number | undefined): number | undefined {
  return part === undefined || whole === undefined || whole === 0 ? undefined : 100 * part / whole;
}

function round(value: number): string {
  return value.toFixed(value < 10 ? 1 : 0);
}
