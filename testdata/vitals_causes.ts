/**
 * A log for each cause of a job's death, written with realistic numbers, none of them recorded.
 *
 * @module
 */
import { type SampleValues, VitalsLog } from "./vitals_log.ts";
import type { Confidence, VerdictClass } from "../lib/vitals/report/types.ts";

const GIB = 2 ** 30;

/** A log, and what is to be found in it. */
export interface VerdictCase {
  name: string;
  log: VitalsLog;
  sees: VerdictClass;
  confidence: Confidence;
  /** Findings beside the verdict, all of them. */
  also?: VerdictClass[];
  /** What it is when the same log goes on in good health, unless that follows from the class. */
  later?: VerdictClass;
  /** In one of the evidence lines. */
  evidence: RegExp;
}

const started = () => new VitalsLog().start().samples(40);
const oom = (scope: string | undefined, more = {}) => ({
  scope,
  outcome: "killed",
  constraint: "CONSTRAINT_MEMCG",
  pid: 3695,
  comm: "python",
  anon_rss_kb: 65_028,
  oom_memcg: "/kubepods.slice/pod1/c1",
  task_memcg: "/kubepods.slice/pod1/c1",
  kmsg_seq: 508,
  ...more,
});
const kernel = (tag: string, kind: string | undefined, text: string, more = {}) => ({
  tag,
  class: kind,
  kmsg_seq: 900,
  text,
  ...more,
});
const full: SampleValues = { mem_current: 63.9 * GIB, mem_anon_bytes: 63 * GIB, mem_file_bytes: 0.1 * GIB };

/** The logs. */
export const CAUSES: readonly VerdictCase[] = [
  {
    name: "own cgroup, by the kernel log",
    log: started().samples(5, full).event("oom", oom("own")),
    sees: "oom_own",
    confidence: "high",
    evidence: /event=oom scope=own/,
  },
  {
    name: "own cgroup, the job died of it a moment later",
    log: started().samples(5, full).event("oom", oom("own")).samples(2).end({ reason: "exit", code: 137 }),
    sees: "oom_own",
    confidence: "high",
    evidence: /event=oom scope=own/,
  },
  {
    name: "own cgroup inside a cgroup namespace: its limit was hit by its own counter",
    log: started().samples(5, full).event("oom", oom(undefined)).sample({ ...full, oom: 1, oom_kill: 1 }),
    sees: "oom_own",
    confidence: "high",
    evidence: /event=oom outcome=killed/,
  },
  {
    name: "own cgroup, killed whole before a counter could be read",
    log: started().samples(5, full).event("oom", oom(undefined)),
    sees: "oom_own",
    // Its own counter would have risen: it was another's kill.
    later: "external_end",
    confidence: "medium",
    evidence: /event=oom outcome=killed/,
  },
  {
    name: "own cgroup, by its counters only",
    log: new VitalsLog().start({ kmsg: "absent" }).samples(40).samples(3, full)
      .sample({ ...full, oom: 1, oom_kill: 1 }),
    sees: "oom_own",
    confidence: "medium",
    evidence: /oom=1 oom_kill=1/,
  },
  {
    name: "the whole machine",
    log: started().samples(5, { vm_mem_avail_kb: 3_000_000 })
      .event("oom", oom("global", { constraint: "CONSTRAINT_NONE", oom_memcg: undefined })),
    sees: "oom_guest",
    confidence: "high",
    evidence: /scope=global/,
  },
  {
    name: "the whole machine, by counters: below the limit, and no memory left",
    log: new VitalsLog().start({ kmsg: "denied" }).samples(40)
      .samples(3, { vm_mem_avail_kb: 3_000_000, oom_kill: 1 }),
    sees: "oom_guest",
    confidence: "medium",
    evidence: /oom_kill=1/,
  },
  {
    name: "a limit above",
    log: started().event("oom", oom("ancestor", { oom_memcg: "/kubepods.slice/pod1" })),
    sees: "oom_ancestor",
    confidence: "high",
    evidence: /scope=ancestor/,
  },
  {
    name: "a limit above, seen from a namespace: killed, but not at the own limit",
    log: started().event("oom", oom(undefined)).sample({ oom_kill: 1 }),
    sees: "oom_ancestor",
    confidence: "medium",
    evidence: /event=oom outcome=killed/,
  },
  {
    name: "bound NUMA nodes",
    log: started().event(
      "oom",
      oom("numa", { constraint: "CONSTRAINT_MEMORY_POLICY", oom_memcg: undefined }),
    ),
    sees: "oom_numa",
    confidence: "high",
    evidence: /scope=numa/,
  },
  {
    name: "a fatal Xid",
    log: started()
      .event(
        "kernel",
        kernel("xid", "fatal", "NVRM: Xid (PCI:0000:05:00): 79, GPU has fallen off the bus.", { xid: 79 }),
      )
      .samples(4),
    sees: "gpu_fault",
    confidence: "high",
    evidence: /xid=79/,
  },
  {
    name: "an application's Xid",
    log: started()
      .event("kernel", kernel("xid", "application", "NVRM: Xid (PCI:0000:00:06): 31, pid=79749", { xid: 31 }))
      .samples(2),
    sees: "gpu_fault",
    confidence: "medium",
    evidence: /xid=31/,
  },
  {
    name: "an amdgpu ring timeout",
    log: started().event(
      "kernel",
      kernel("amdgpu", "timeout", "[drm:amdgpu_job_timedout [amdgpu]] ring gfx timeout"),
    )
      .samples(2),
    sees: "gpu_fault",
    confidence: "high",
    evidence: /tag=amdgpu/,
  },
  {
    name: "queries of the GPU hang",
    log: started().gpu().samples(5).gpu({ gpu_state: "hung", gpu_age_ms: 40_000 }).samples(2),
    sees: "gpu_fault",
    confidence: "medium",
    evidence: /gpu_state=hung/,
  },
  {
    name: "panic",
    log: started().event("kernel", kernel("panic", undefined, "Kernel panic - not syncing: Fatal exception")),
    sees: "kernel_fault",
    confidence: "high",
    evidence: /tag=panic/,
  },
  {
    name: "the filesystem became read-only",
    log: started().event(
      "kernel",
      kernel("fs", "readonly", "EXT4-fs (sda1): Remounting filesystem read-only"),
    ).samples(3),
    sees: "disk_fault",
    confidence: "high",
    evidence: /tag=fs/,
  },
  {
    name: "the working directory's disk is full",
    log: started().samples(5, (index) => ({ disk_work_avail_bytes: (4 - index) * 40e6 })),
    sees: "disk_full",
    confidence: "high",
    evidence: /disk_work_avail_bytes=0 /,
  },
  {
    name: "no inodes",
    log: started().samples(5, { disk_root_avail_inodes: 12 }),
    sees: "inodes_full",
    confidence: "high",
    evidence: /disk_root_avail_inodes=12 /,
  },
  {
    name: "no shared memory",
    log: new VitalsLog().start({ shm_bytes: 67_108_864 }).samples(40, { shm_avail_bytes: 60e6 })
      .samples(3, { shm_avail_bytes: 4096 }),
    sees: "shm_full",
    confidence: "high",
    evidence: /shm_avail_bytes=4096 /,
  },
  {
    name: "no tasks, by the count",
    log: started().samples(3, { pids: 32_700 }),
    sees: "pids_exhausted",
    confidence: "high",
    evidence: /pids=32700 /,
  },
  {
    name: "no tasks, by the kernel log",
    log: started().event(
      "kernel",
      kernel("pids", undefined, "cgroup: fork rejected by pids controller in /c1"),
    )
      .sample(),
    sees: "pids_exhausted",
    confidence: "high",
    evidence: /tag=pids/,
  },
  {
    name: "thrashing at the limit",
    log: started().samples(8, { ...full, mem_psi_full_usec: 2_100_000, mem_max_events: 400 }),
    sees: "memory_starvation",
    confidence: "medium",
    evidence: /mem_psi_full_usec=2100000/,
  },
  {
    name: "throttled at memory.high",
    log: started().samples(8, { mem_psi_full_usec: 1_500_000, mem_high_events: 90 }),
    sees: "memory_starvation",
    confidence: "medium",
    evidence: /mem_high_events=90/,
  },
  {
    name: "I/O stalls while the CPUs idle",
    log: started().samples(12, { io_psi_full_usec: 2_500_000, io_psi_some_usec: 2_800_000, cpu_busy_pct: 3 }),
    sees: "io_stall",
    confidence: "medium",
    evidence: /io_psi_full_usec=2500000/,
  },
  {
    name: "a task hung on a file server",
    log: started().event("kernel", kernel("nfs", "not_responding", "nfs: server a not responding, timed out"))
      .event(
        "kernel",
        kernel("hung_task", "blocked", "INFO: task python:1177 blocked for more than 120 seconds."),
      )
      .samples(5),
    sees: "io_stall",
    confidence: "medium",
    evidence: /tag=hung_task/,
  },
  {
    name: "throttled by its CPU quota",
    log: started().samples(12, { cpu_throttled_usec: 2_200_000, late_ms: 90 }),
    sees: "cpu_throttled",
    confidence: "medium",
    evidence: /cpu_throttled_usec=2200000/,
  },
  {
    name: "late again and again on a busy machine",
    log: started().samples(5, { late_ms: 2_400, cpu_busy_pct: 100, load1: 190 }),
    sees: "cpu_starvation",
    confidence: "medium",
    evidence: /late_ms=2400/,
  },
  {
    name: "CPU pressure for half a minute",
    log: started().samples(14, { cpu_psi_some_usec: 2_700_000, cpu_busy_pct: 100, cpu_steal_pct: 31 }),
    sees: "cpu_starvation",
    confidence: "medium",
    evidence: /cpu_psi_some_usec=2700000/,
  },
  {
    name: "a gap in which nothing was lost",
    log: started().wait(90_000).event("resume", { gap_ms: 90_000 }).samples(4),
    sees: "frozen",
    confidence: "medium",
    evidence: /event=resume/,
  },
];
