/**
 * The facts that begin a log: which machine, runner and job this is, where its cgroup is, which limits hold, and what
 * cannot be observed here, so that the lack of a line is never read as the lack of an event.
 *
 * @module
 */
import { type CgroupLimits, readLimits } from "../host/cgroup_limits.ts";
import { type PressureState, pressureState } from "../host/pressure.ts";
import { KeptFile, keyedNumber } from "../host/procfs.ts";
import { slurmFacts } from "../host/slurm.ts";
import { VERSION } from "../version.ts";
import type { LineFields } from "./line.ts";
import type { Sampler } from "./sample.ts";

type Environment = Readonly<Record<string, string>>;

/** What whoever starts the sampling knows. */
export interface StartOptions {
  readonly env: Environment;
  readonly sampler: Sampler;
  readonly intervalMs: number;
  /** alone: `vitals run`; command: beside a CMD; once: two readings. */
  readonly mode: "alone" | "command" | "once";
  readonly kmsg: "ok" | "denied" | "absent";
  /** How many GPUs there are; undefined when nobody looked. */
  readonly gpus?: number | undefined;
  readonly proc?: string;
}

/** The fields of the start line, in its order. What is not known is undefined. */
export function startFields(
  { env, sampler, intervalMs, mode, kmsg, gpus, proc = "/proc" }: StartOptions,
): LineFields {
  const { cgroup } = sampler;
  const totalKb = keyedNumber(textOf(`${proc}/meminfo`) ?? "", "MemTotal");
  const limits = readLimits(cgroup, totalKb === undefined ? undefined : totalKb * 1024);
  return {
    seq: 0,
    version: VERSION,
    boot_id: wordOf(`${proc}/sys/kernel/random/boot_id`),
    interval_ms: intervalMs,
    hostname: Deno.hostname(),
    ...identityOf(env),
    cgroup: cgroup.path,
    cgroup_version: cgroup.version,
    cgroup_verified: cgroup.isVerified,
    cgroup_namespaced: cgroup.isNamespaced,
    cgroup_ancestors: cgroup.areAncestorsVisible ? "visible" : "hidden",
    ...limitFields(limits),
    kmsg,
    psi: readPressureState(proc),
    gpus,
    cpus: cpuCount(proc),
    oom_score_adj: integerOf(`${proc}/self/oom_score_adj`),
    pid: Deno.pid,
    mode,
    ...filesystemFields(sampler),
  };
}

/** Who runs here, as the runner, Kubernetes, GitHub and Slurm tell their jobs. */
function identityOf(env: Environment): LineFields {
  return {
    runner: env.RUNNER_NAME || undefined,
    // Kubernetes makes the pod's name the hostname, unless the pod has the host's network.
    pod: env.POD_NAME || (env.KUBERNETES_SERVICE_HOST ? env.HOSTNAME : undefined) || undefined,
    run_id: env.GITHUB_RUN_ID || undefined,
    slurm_job: slurmFacts(env)?.job,
  };
}

function limitFields({ memoryMax, memoryEffective, cpuCores, pidsMax }: CgroupLimits): LineFields {
  return {
    mem_max: memoryMax,
    mem_limit_effective_bytes: memoryEffective,
    cpu_quota_cores: cpuCores,
    pids_max: pidsMax,
  };
}

/** `disk_work_fs=nfs4` without sizes says that this filesystem is not asked. */
function filesystemFields(sampler: Sampler): LineFields {
  const { root, work, shm } = sampler.filesystems();
  return {
    disk_root_fs: root?.fsType,
    disk_root_bytes: root?.totalBytes,
    disk_root_inodes: root?.totalInodes,
    disk_work_fs: work?.fsType,
    disk_work_bytes: work?.totalBytes,
    disk_work_inodes: work?.totalInodes,
    shm_bytes: shm?.totalBytes,
  };
}

/** Memory pressure stands for all three: the kernel has all or none. */
function readPressureState(proc: string): PressureState {
  using file = new KeptFile(`${proc}/pressure/memory`);
  file.readHead();
  return pressureState(file.failure);
}

/** CPUs that are online: the `cpuN` lines of /proc/stat. */
function cpuCount(proc: string): number | undefined {
  const text = textOf(`${proc}/stat`);
  return text === undefined ? undefined : text.match(/^cpu\d+ /gm)?.length;
}

function integerOf(path: string): number | undefined {
  const word = wordOf(path);
  return word !== undefined && /^-?\d+$/.test(word) ? Number(word) : undefined;
}

function wordOf(path: string): string | undefined {
  return textOf(path)?.trim() || undefined;
}

function textOf(path: string): string | undefined {
  using file = new KeptFile(path);
  return file.readAll();
}
