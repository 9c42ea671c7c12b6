/**
 * The keys of a sample, in the order in which its line has them. Everything that knows keys derives from this table:
 * the line, the peer's line, the Prometheus and OTLP names, the report and the dashboard.
 *
 * @module
 */

/**
 * gauge: a value of this moment; counter: what the kernel counted since the counter began; delta: how far a counter
 * went since the previous sample, so that the first sample has none.
 */
export type KeyKind = "gauge" | "counter" | "delta";

/** What one is of. */
export type KeyUnit = "bytes" | "kibibytes" | "percent" | "microseconds" | "milliseconds" | "count";

/** One key. */
export interface KeySpec {
  readonly key: string;
  readonly unit: KeyUnit;
  readonly kind: KeyKind;
  /** A sentence fragment for HELP lines and legends. */
  readonly help: string;
  /** What tuist's probe calls it, when it has it. */
  readonly tuist?: string;
}

const row = <K extends string>(key: K, unit: KeyUnit, kind: KeyKind, help: string, tuist?: string) =>
  ({ key, unit, kind, help, ...tuist !== undefined && { tuist } }) as const;

/** The table. "The machine" is what this kernel runs: the host, or the guest of a virtual machine. */
export const KEY_TABLE = [
  row("vm_mem_total_kb", "kibibytes", "gauge", "Memory of the machine, MemTotal", "vm.mem.total.kb"),
  row(
    "vm_mem_avail_kb",
    "kibibytes",
    "gauge",
    "Memory the machine can still give, MemAvailable",
    "vm.mem.avail.kb",
  ),
  row("mem_current", "bytes", "gauge", "Memory charged to the cgroup, page cache included", "mem.current"),
  row("mem_peak", "bytes", "gauge", "Most memory charged to the cgroup so far", "mem.peak"),
  row("mem_max", "bytes", "gauge", "Memory limit of the cgroup; max is none below MemTotal", "mem.max"),
  row("mem_swap", "bytes", "gauge", "Swap charged to the cgroup", "mem.swap"),
  row("oom", "count", "counter", "Times an allocation in the cgroup failed at its memory limit", "oom"),
  row("oom_kill", "count", "counter", "Processes of the cgroup killed by any OOM killer", "oom_kill"),
  row(
    "cpu_busy_pct",
    "percent",
    "gauge",
    "Share of all CPUs that was not idle, steal included",
    "cpu.busy.pct",
  ),
  row("cpu_psi_some_avg10", "percent", "gauge", "Machine's CPU pressure, some, 10 s", "cpu.psi.some.avg10"),
  row(
    "mem_psi_some_avg10",
    "percent",
    "gauge",
    "Machine's memory pressure, some, 10 s",
    "mem.psi.some.avg10",
  ),
  row(
    "mem_psi_full_avg10",
    "percent",
    "gauge",
    "Machine's memory pressure, full, 10 s",
    "mem.psi.full.avg10",
  ),
  row("io_psi_some_avg10", "percent", "gauge", "Machine's I/O pressure, some, 10 s", "io.psi.some.avg10"),
  row("load1", "count", "gauge", "Load average over 1 minute"),
  row("load5", "count", "gauge", "Load average over 5 minutes"),
  row("load15", "count", "gauge", "Load average over 15 minutes"),
  row("mem_high_events", "count", "delta", "Times the cgroup was throttled at memory.high"),
  row("mem_max_events", "count", "delta", "Times the cgroup was about to exceed its memory limit"),
  row("mem_anon_bytes", "bytes", "gauge", "Anonymous memory of the cgroup"),
  row("mem_file_bytes", "bytes", "gauge", "Page cache of the cgroup, shared memory included"),
  row("mem_shmem_bytes", "bytes", "gauge", "Shared memory and tmpfs of the cgroup"),
  row(
    "cpu_throttled_usec",
    "microseconds",
    "delta",
    "Time in which the cgroup's CPU quota kept it from running",
  ),
  row("cpu_steal_pct", "percent", "gauge", "Share of all CPUs that the hypervisor gave to others"),
  row(
    "cpu_psi_some_usec",
    "microseconds",
    "delta",
    "Time in which some task of the machine waited for a CPU",
  ),
  row(
    "mem_psi_some_usec",
    "microseconds",
    "delta",
    "Time in which some task of the machine waited for memory",
  ),
  row(
    "mem_psi_full_usec",
    "microseconds",
    "delta",
    "Time in which all tasks of the machine waited for memory",
  ),
  row("io_psi_some_usec", "microseconds", "delta", "Time in which some task of the machine waited for I/O"),
  row("io_psi_full_usec", "microseconds", "delta", "Time in which all tasks of the machine waited for I/O"),
  row("pids", "count", "gauge", "Tasks in the cgroup; at its root, of the machine"),
  row("pids_max", "count", "gauge", "Limit of tasks in the cgroup; max is none"),
  row("fds", "count", "gauge", "Open file handles of the machine"),
  row("disk_root_avail_bytes", "bytes", "gauge", "Room on the filesystem of /"),
  row("disk_root_avail_inodes", "count", "gauge", "Free inodes on the filesystem of /"),
  row("disk_work_avail_bytes", "bytes", "gauge", "Room on the filesystem of the working directory"),
  row("disk_work_avail_inodes", "count", "gauge", "Free inodes on the filesystem of the working directory"),
  row("shm_avail_bytes", "bytes", "gauge", "Room on /dev/shm"),
  row("net_rx_bytes", "bytes", "delta", "Bytes received by the network interfaces, loopback left out"),
  row("net_tx_bytes", "bytes", "delta", "Bytes sent by the network interfaces, loopback left out"),
  row("io_read_bytes", "bytes", "delta", "Bytes read from the machine's disks"),
  row("io_write_bytes", "bytes", "delta", "Bytes written to the machine's disks"),
  row("vm_oom_kill_events", "count", "delta", "Processes of the whole machine killed by any OOM killer"),
  row("vm_pgmajfault_events", "count", "delta", "Page faults of the machine that had to wait for a disk"),
  row("pids_max_events", "count", "delta", "Forks that the cgroup's limit of tasks refused"),
  row("late_ms", "milliseconds", "gauge", "How late the sample was taken"),
  row("seq", "count", "gauge", "Number of the line, from 0"),
  row("lost", "count", "gauge", "Earlier lines that could not be written; absent when none"),
] as const satisfies readonly KeySpec[];

/** A key of the table. */
export type SampleKey = typeof KEY_TABLE[number]["key"];

/** One sample: what could be read, nothing else. `max` says that a limit is none. */
export type Sample = Map<SampleKey, number | "max">;

/** The keys in the order of the table. */
export const SAMPLE_KEYS: readonly SampleKey[] = KEY_TABLE.map(({ key }) => key);

const byKey = new Map<string, KeySpec>(KEY_TABLE.map((spec) => [spec.key, spec]));

/** What the table says of `key`; undefined for a key that is none of its. */
export function keySpec(key: string): KeySpec | undefined {
  return byKey.get(key);
}

/** Whether `key` is one of the table's. */
export function isSampleKey(key: string): key is SampleKey {
  return byKey.has(key);
}
