/**
 * The part of a sample that is the machine's: memory, CPU, pressure, load, open files, traffic.
 *
 * @module
 */
import { parseDisks, parseNetDevices, TrafficMeter } from "../host/device_traffic.ts";
import { parsePressure } from "../host/pressure.ts";
import {
  counterAt,
  type CpuTicks,
  KeptFile,
  keyedCounter,
  keyedNumber,
  parseCpuTicks,
  parseLoad,
} from "../host/procfs.ts";
import type { Deltas } from "./deltas.ts";
import type { Sample } from "./keys.ts";
import { FileSource, type OnSourceChange } from "./source.ts";

/** Reads the machine's values into samples. */
export class MachineSources implements Disposable {
  /** Tasks of the machine at the last reading. */
  tasks: number | undefined;
  /** MemTotal at the last reading, in bytes; virtual machines grow theirs while they run. */
  memoryBytes: number | undefined;
  /** The most tasks that the machine can have. */
  readonly tasksMax: number | undefined;

  readonly #memory: FileSource;
  readonly #stat: FileSource;
  readonly #load: FileSource;
  readonly #vmstat: FileSource;
  readonly #files: FileSource;
  readonly #pressures: readonly (readonly [name: "cpu" | "mem" | "io", FileSource])[];
  readonly #netdev: FileSource;
  readonly #diskstats: FileSource;
  readonly #interfaces: TrafficMeter;
  readonly #disks: TrafficMeter;
  readonly #isWholeDisk: (name: string) => boolean;
  #ticks: CpuTicks | undefined;

  constructor({ proc, sys }: { proc: string; sys: string }, onChange: OnSourceChange) {
    const source = (path: string, whole = false) => new FileSource(`${proc}/${path}`, onChange, { whole });
    this.#memory = source("meminfo");
    this.#stat = source("stat");
    this.#load = source("loadavg");
    this.#vmstat = source("vmstat", true);
    this.#files = source("sys/fs/file-nr");
    this.#pressures = [
      ["cpu", source("pressure/cpu")],
      ["mem", source("pressure/memory")],
      ["io", source("pressure/io")],
    ];
    this.#netdev = source("self/net/dev", true);
    this.#diskstats = source("diskstats", true);
    this.#interfaces = new TrafficMeter((name) => exists(`${sys}/class/net/${name}/device`));
    this.#disks = new TrafficMeter((name) => exists(`${sys}/block/${name}/device`));
    const bounds = ["pid_max", "threads-max"].map((name) => numberOf(`${proc}/sys/kernel/${name}`))
      .filter((bound) => bound !== undefined);
    this.tasksMax = bounds.length === 0 ? undefined : Math.min(...bounds);
    const whole = new Map<string, boolean>();
    this.#isWholeDisk = (name) => {
      let isWhole = whole.get(name);
      // A "/" in a name is a "!" in sysfs (cciss/c0d0).
      if (isWhole === undefined) {
        whole.set(name, isWhole = exists(`${sys}/block/${name.replaceAll("/", "!")}`));
      }
      return isWhole;
    };
  }

  /** Puts what can be read now into `sample`. */
  read(sample: Sample, deltas: Deltas, nowMs: number): void {
    this.#readMemory(sample, deltas, nowMs);
    this.#readCpu(sample, nowMs);
    for (const [name, source] of this.#pressures) readPressure(sample, deltas, name, source.text(nowMs));
    const load = parseLoad(this.#load.text(nowMs) ?? "");
    this.tasks = load?.tasks;
    if (load !== undefined) {
      sample.set("load1", load.load1).set("load5", load.load5).set("load15", load.load15);
    }
    const handles = counterAt(this.#files.text(nowMs) ?? "", 0);
    if (handles !== undefined) sample.set("fds", Number(handles));
    this.#readTraffic(sample, nowMs);
  }

  #readMemory(sample: Sample, deltas: Deltas, nowMs: number): void {
    const memory = this.#memory.text(nowMs) ?? "";
    const totalKb = keyedNumber(memory, "MemTotal");
    const availableKb = keyedNumber(memory, "MemAvailable");
    this.memoryBytes = totalKb === undefined ? undefined : totalKb * 1024;
    if (totalKb !== undefined) sample.set("vm_mem_total_kb", totalKb);
    if (availableKb !== undefined) sample.set("vm_mem_avail_kb", availableKb);
    const vmstat = this.#vmstat.text(nowMs) ?? "";
    deltas.put(sample, "vm_oom_kill_events", keyedCounter(vmstat, "oom_kill"));
    deltas.put(sample, "vm_pgmajfault_events", keyedCounter(vmstat, "pgmajfault"));
  }

  #readCpu(sample: Sample, nowMs: number): void {
    const before = this.#ticks;
    const ticks = this.#ticks = parseCpuTicks(this.#stat.text(nowMs) ?? "");
    if (before === undefined || ticks === undefined || ticks.total <= before.total) return;
    const total = ticks.total - before.total;
    // Idle time of single CPUs may go back a little (proc_stat(5)).
    const share = (part: number) => Math.min(100, Math.max(0, Math.floor(1000 * part / total) / 10));
    sample.set("cpu_busy_pct", share(total - (ticks.idle - before.idle)));
    sample.set("cpu_steal_pct", share(ticks.steal - before.steal));
  }

  #readTraffic(sample: Sample, nowMs: number): void {
    const netdev = this.#netdev.text(nowMs);
    if (netdev === undefined) this.#interfaces.forget();
    const net = netdev === undefined ? undefined : this.#interfaces.next(parseNetDevices(netdev));
    if (net !== undefined) sample.set("net_rx_bytes", net.inBytes).set("net_tx_bytes", net.outBytes);
    const diskstats = this.#diskstats.text(nowMs);
    if (diskstats === undefined) this.#disks.forget();
    const disks = diskstats === undefined
      ? undefined
      : this.#disks.next(parseDisks(diskstats, this.#isWholeDisk));
    if (disks !== undefined) sample.set("io_read_bytes", disks.inBytes).set("io_write_bytes", disks.outBytes);
  }

  /** Closes the files. */
  [Symbol.dispose](): void {
    for (const [, source] of this.#pressures) source[Symbol.dispose]();
    for (
      const source of [
        this.#memory,
        this.#stat,
        this.#load,
        this.#vmstat,
        this.#files,
        this.#netdev,
        this.#diskstats,
      ]
    ) source[Symbol.dispose]();
  }
}

function readPressure(
  sample: Sample,
  deltas: Deltas,
  name: "cpu" | "mem" | "io",
  text: string | undefined,
): void {
  const pressure = text === undefined ? undefined : parsePressure(text);
  if (pressure === undefined) return;
  const { some, full } = pressure;
  sample.set(`${name}_psi_some_avg10`, some.avg10);
  deltas.put(sample, `${name}_psi_some_usec`, some.totalUsec);
  // Of CPUs no task but an idle machine's can be said to be all: that row is always 0.
  if (full === undefined || name === "cpu") return;
  if (name === "mem") sample.set("mem_psi_full_avg10", full.avg10);
  deltas.put(sample, `${name}_psi_full_usec`, full.totalUsec);
}

function numberOf(path: string): number | undefined {
  using file = new KeptFile(path);
  const value = Number.parseInt(file.readHead() ?? "", 10);
  return Number.isNaN(value) ? undefined : value;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false; // sysfs may be hidden: the device counts as no hardware
  }
}
