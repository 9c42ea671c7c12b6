/**
 * The part of a sample that is the cgroup's: memory and its events, CPU throttling, tasks. The same quantity has
 * other files and units on v1 and v2 (Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst).
 *
 * @module
 */
import type { CgroupLocation, Controller } from "../host/cgroup.ts";
import { limitFile, parseLimit } from "../host/cgroup_limits.ts";
import { keyedCounter, keyedNumber } from "../host/procfs.ts";
import type { Deltas } from "./deltas.ts";
import type { Sample, SampleKey } from "./keys.ts";
import { FileSource, type OnSourceChange, type SourceChange } from "./source.ts";

type Files = Readonly<Record<string, FileSource | undefined>>;

/** What a cgroup's values are completed from. */
export interface MachineFacts {
  readonly memoryBytes: number | undefined;
  readonly tasks: number | undefined;
  readonly tasksMax: number | undefined;
}

/** Reads a cgroup's values into samples. */
export class CgroupSources implements Disposable {
  /** A directory of the cgroup was removed: who was in it is elsewhere now, or has ended. */
  isGone = false;

  readonly #location: CgroupLocation;
  readonly #files: Files;
  readonly #readMemory: (sample: Sample, deltas: Deltas, nowMs: number) => void;
  readonly #onChange: OnSourceChange;
  readonly #goneDirs = new Set<string>();

  constructor(location: CgroupLocation, onChange: OnSourceChange) {
    this.#location = location;
    this.#onChange = onChange;
    const file = (controller: Controller, name: string | undefined, whole = false) => {
      const dir = location.dirs[controller];
      if (dir === undefined || name === undefined) return undefined;
      const onFileChange: OnSourceChange = (change) => this.#pass(change, dir.path);
      return new FileSource(`${dir.path}/${name}`, onFileChange, { whole });
    };
    const { memory } = location.dirs;
    const isV2 = memory?.version === 2;
    this.#files = {
      current: file("memory", isV2 ? "memory.current" : "memory.usage_in_bytes"),
      peak: file("memory", isV2 ? "memory.peak" : "memory.max_usage_in_bytes"),
      max: file("memory", memory && limitFile(memory, "memory")),
      swap: file("memory", isV2 ? "memory.swap.current" : undefined),
      events: file("memory", isV2 ? "memory.events" : "memory.oom_control"),
      failures: file("memory", isV2 ? undefined : "memory.failcnt"),
      memoryStat: file("memory", "memory.stat", true),
      cpuStat: file("cpu", "cpu.stat"),
      pids: file("pids", "pids.current"),
      pidsMax: file("pids", "pids.max"),
      pidsEvents: file("pids", "pids.events"),
    };
    this.#readMemory = isV2 ? this.#readMemoryV2 : this.#readMemoryV1;
  }

  /** Puts what can be read now into `sample`. */
  read(sample: Sample, deltas: Deltas, nowMs: number, machine: MachineFacts): void {
    this.#put(sample, "mem_current", this.#number("current", nowMs));
    this.#put(sample, "mem_peak", this.#number("peak", nowMs));
    const max = this.#text("max", nowMs);
    if (max !== undefined) this.#put(sample, "mem_max", parseLimit(max, machine.memoryBytes));
    this.#readMemory(sample, deltas, nowMs);
    const stat = this.#text("cpuStat", nowMs) ?? "";
    if (this.#location.dirs.cpu?.version === 2) {
      deltas.put(sample, "cpu_throttled_usec", keyedCounter(stat, "throttled_usec"));
    } else {
      deltas.put(sample, "cpu_throttled_usec", keyedCounter(stat, "throttled_time"), 1000); // nanoseconds
    }
    this.#readPids(sample, deltas, nowMs, machine);
  }

  #readMemoryV2(sample: Sample, deltas: Deltas, nowMs: number): void {
    this.#put(sample, "mem_swap", this.#number("swap", nowMs));
    const events = this.#text("events", nowMs) ?? "";
    this.#put(sample, "oom", keyedNumber(events, "oom"));
    this.#put(sample, "oom_kill", keyedNumber(events, "oom_kill"));
    deltas.put(sample, "mem_high_events", keyedCounter(events, "high"));
    deltas.put(sample, "mem_max_events", keyedCounter(events, "max"));
    const stat = this.#text("memoryStat", nowMs) ?? "";
    this.#put(sample, "mem_anon_bytes", keyedNumber(stat, "anon"));
    this.#put(sample, "mem_file_bytes", keyedNumber(stat, "file"));
    this.#put(sample, "mem_shmem_bytes", keyedNumber(stat, "shmem"));
  }

  #readMemoryV1(sample: Sample, deltas: Deltas, nowMs: number): void {
    // v1 does not count how often the limit was reached without a way out, so there is no `oom`.
    this.#put(sample, "oom_kill", keyedNumber(this.#text("events", nowMs) ?? "", "oom_kill"));
    deltas.put(sample, "mem_max_events", this.#number("failures", nowMs));
    const stat = this.#text("memoryStat", nowMs) ?? "";
    // The difference of memsw and memory usage would be off by what is charged between the two readings.
    this.#put(sample, "mem_swap", keyedNumber(stat, "total_swap"));
    this.#put(sample, "mem_anon_bytes", keyedNumber(stat, "total_rss"));
    this.#put(sample, "mem_file_bytes", keyedNumber(stat, "total_cache"));
    this.#put(sample, "mem_shmem_bytes", keyedNumber(stat, "total_shmem"));
  }

  #readPids(sample: Sample, deltas: Deltas, nowMs: number, { tasks, tasksMax }: MachineFacts): void {
    if (this.#location.dirs.pids?.isRoot) {
      this.#put(sample, "pids", tasks);
      this.#put(sample, "pids_max", tasksMax);
      return;
    }
    this.#put(sample, "pids", this.#number("pids", nowMs));
    const max = this.#text("pidsMax", nowMs);
    if (max !== undefined) this.#put(sample, "pids_max", parseLimit(max));
    deltas.put(sample, "pids_max_events", keyedCounter(this.#text("pidsEvents", nowMs) ?? "", "max"));
  }

  /** A removed directory takes all its files along; that is one loss. */
  #pass(change: SourceChange, dir: string): void {
    if (this.#goneDirs.has(dir)) return;
    const isRemoved = change.errno === "ENODEV" || change.errno === "ENOENT";
    if (!isRemoved || isDirectory(dir)) return this.#onChange(change);
    this.isGone = true;
    this.#goneDirs.add(dir);
    this.#onChange({ ...change, source: dir });
  }

  #text(name: string, nowMs: number): string | undefined {
    return this.#files[name]?.text(nowMs);
  }

  #number(name: string, nowMs: number): number | undefined {
    const text = this.#text(name, nowMs);
    return text === undefined || !/^\d+\s*$/.test(text) ? undefined : Number(text);
  }

  #put(sample: Sample, key: SampleKey, value: number | "max" | undefined): void {
    if (value !== undefined) sample.set(key, value);
  }

  /** Closes the files. */
  [Symbol.dispose](): void {
    for (const file of Object.values(this.#files)) file?.[Symbol.dispose]();
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false; // that it cannot be looked at is what is asked
  }
}
