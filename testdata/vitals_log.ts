/**
 * Writes logs of a probe for tests, line by line with davit's own writer: a healthy GPU job unless a test says what is
 * wrong. The numbers are those of a container with 64 GiB of a 256 GiB machine; no line of it is recorded.
 *
 * @module
 */
import type { Sample, SampleKey } from "../lib/vitals/keys.ts";
import { formatLine, formatSample, type LineFields } from "../lib/vitals/line.ts";

const GIB = 2 ** 30;

/** Values of a sample by key; undefined takes a key out. */
export type SampleValues = Partial<Record<SampleKey, number | "max" | undefined>>;

const HEALTHY: SampleValues = {
  vm_mem_total_kb: 268_435_456,
  vm_mem_avail_kb: 201_326_592,
  mem_current: 30 * GIB,
  mem_peak: 34 * GIB,
  mem_max: 64 * GIB,
  mem_swap: 0,
  oom: 0,
  oom_kill: 0,
  cpu_busy_pct: 42,
  cpu_psi_some_avg10: 3.5,
  mem_psi_some_avg10: 0,
  mem_psi_full_avg10: 0,
  io_psi_some_avg10: 1.2,
  load1: 12.5,
  load5: 11.9,
  load15: 10.2,
  mem_high_events: 0,
  mem_max_events: 0,
  mem_anon_bytes: 22 * GIB,
  mem_file_bytes: 8 * GIB,
  mem_shmem_bytes: GIB,
  cpu_throttled_usec: 0,
  cpu_steal_pct: 0.1,
  cpu_psi_some_usec: 90_000,
  mem_psi_some_usec: 0,
  mem_psi_full_usec: 0,
  io_psi_some_usec: 30_000,
  io_psi_full_usec: 12_000,
  pids: 480,
  pids_max: 32_768,
  fds: 9_000,
  disk_root_avail_bytes: 80 * GIB,
  disk_root_avail_inodes: 5_000_000,
  disk_work_avail_bytes: 900 * GIB,
  disk_work_avail_inodes: 60_000_000,
  shm_avail_bytes: 30 * GIB,
  net_rx_bytes: 4_000_000,
  net_tx_bytes: 1_000_000,
  io_read_bytes: 25_000_000,
  io_write_bytes: 9_000_000,
  late_ms: 2,
};

const START: LineFields = {
  version: "0.1.0",
  boot_id: "4b3e2a10-7d52-4c7e-9c55-0d6c1f9a7e31",
  hostname: "runner-gpu-x7",
  runner: "gpu-pool-x7",
  cgroup: "/kubepods.slice/pod1/c1",
  cgroup_version: "v2",
  cgroup_verified: true,
  mem_max: 64 * GIB,
  mem_limit_effective_bytes: 64 * GIB,
  kmsg: "ok",
  psi: "ok",
  gpus: 1,
  cpus: 32,
  oom_score_adj: 500,
  pid: 17,
  mode: "command",
  disk_root_bytes: 200 * GIB,
  disk_root_inodes: 12_000_000,
  disk_work_bytes: 1800 * GIB,
  disk_work_inodes: 120_000_000,
  shm_bytes: 32 * GIB,
};

/** A log in the making; its clock goes on with each sample. */
export class VitalsLog {
  readonly lines: string[] = [];
  readonly intervalMs: number;
  nowMs: number;
  #monoMs = 0;
  #seq = 0;
  #tag: string;

  constructor({ startMs = Date.UTC(2026, 10, 21, 9), intervalMs = 3_000, tag = "RUNNER_VITALS" } = {}) {
    this.nowMs = startMs;
    this.intervalMs = intervalMs;
    this.#tag = tag;
  }

  /** Lets time go by without a sample. */
  wait(ms: number): this {
    this.nowMs += ms;
    this.#monoMs += ms;
    return this;
  }

  start(fields: LineFields = {}): this {
    return this.#add("start", { ...START, interval_ms: this.intervalMs, ...fields });
  }

  /** One sample, an interval after the last one. */
  sample(values: SampleValues = {}): this {
    this.wait(this.intervalMs);
    const entries = Object.entries({ ...HEALTHY, ...values }).filter(([, value]) => value !== undefined);
    const sample = new Map(entries) as Sample;
    sample.set("seq", this.#seq++);
    this.lines.push(formatSample(this.#tag, { wallMs: this.nowMs, monoMs: this.#monoMs }, sample).trimEnd());
    return this;
  }

  samples(count: number, values: SampleValues | ((index: number) => SampleValues) = {}): this {
    for (let index = 0; index < count; index++) {
      this.sample(typeof values === "function" ? values(index) : values);
    }
    return this;
  }

  event(event: string, fields: LineFields = {}): this {
    return this.#add("event", { event, ...fields });
  }

  gpu(fields: LineFields = {}): this {
    return this.#add("gpu", {
      gpu: 0,
      uuid: "GPU-1",
      util_pct: 96,
      mem_used_mib: 70_000,
      mem_total_mib: 81_559,
      temp_c: 61,
      power_w: 540,
      gpu_state: "ok",
      gpu_age_ms: 900,
      ...fields,
    });
  }

  end(fields: LineFields): this {
    return this.#add("end", fields);
  }

  /** Takes the next line's number without writing it: it was lost on the way. */
  skip(count = 1): this {
    this.#seq += count;
    return this;
  }

  /** The same log with other text before each line's beginning and between lines. */
  text(): string {
    return this.lines.map((line) => `${line}\n`).join("");
  }

  #add(kind: "start" | "event" | "gpu" | "end", fields: LineFields): this {
    const moment = { wallMs: this.nowMs, monoMs: this.#monoMs };
    this.lines.push(formatLine(this.#tag, kind, moment, { seq: this.#seq++, ...fields }).trimEnd());
    return this;
  }
}
