/**
 * Which cgroups hold this process, and what they leave to it.
 *
 * @module
 */
import { locateCgroup } from "../cgroup.ts";
import { type CgroupLimits, readLimits } from "../cgroup_limits.ts";
import { formatBytes } from "../../units.ts";
import { type Check, type Finding, shown } from "./check.ts";

/** sqfstar is given 256 MiB and davit takes about 100 MB while it imports. */
const MEMORY_WANTED_BYTES = 512 << 20;
/** Threads count: davit may have 45 (32 of them wait for files), sqfstar three and two per CPU. */
const PIDS_WANTED = 128;

/** Where the check looks. */
export interface CgroupCheckSources {
  readonly proc: string;
  readonly cgroup: string;
}

/** The check. */
export function cgroupCheck({ proc, cgroup }: CgroupCheckSources): Check {
  return {
    name: "cgroup",
    async look() {
      const location = locateCgroup({ proc, cgroupRoot: cgroup });
      const limits = readLimits(location, await memoryBytes(proc));
      return judge(location, limits);
    },
  };
}

function judge(
  { version, path, dirs }: ReturnType<typeof locateCgroup>,
  limits: CgroupLimits,
): Finding {
  if (version === "none") {
    return {
      state: "missing",
      detail: "no cgroup hierarchy is mounted",
      cost: "limits, OOM kills and use of this job cannot be told from those of the machine",
      mend: "mount it (mount -t cgroup2 none /sys/fs/cgroup), or give the container /sys/fs/cgroup read-only",
    };
  }
  const { memoryEffective, cpuCores, pidsMax } = limits;
  const words = [
    `${version} ${shown(path ?? "?")}`,
    `memory ${memoryEffective === undefined ? "not told" : formatBytes(memoryEffective)}`,
    `cpu ${cpuCores === undefined ? "without quota" : `${Math.round(cpuCores * 100) / 100} cores`}`,
    `pids ${pidsMax === undefined || pidsMax === "max" ? "without limit" : pidsMax}`,
  ];
  const detail = words.join(", ");
  const tight = [
    ...dirs.memory !== undefined && memoryEffective !== undefined && memoryEffective < MEMORY_WANTED_BYTES
      ? [
        `memory is limited to ${formatBytes(memoryEffective)}, ${formatBytes(MEMORY_WANTED_BYTES)} is wanted`,
      ]
      : [],
    ...typeof pidsMax === "number" && pidsMax < PIDS_WANTED
      ? [`processes and threads are limited to ${pidsMax}, ${PIDS_WANTED} are wanted`]
      : [],
  ];
  if (tight.length > 0) {
    return {
      state: "degraded",
      detail: `${detail}; ${tight.join("; ")}`,
      cost: "an image import may be killed by the kernel, or fail to start its programs",
      mend: "raise the limit of the job or container (--mem, --memory, --pids-limit)",
    };
  }
  if (dirs.memory === undefined) {
    return {
      state: "degraded",
      detail: `${detail}; the memory controller's files are not to be found`,
      cost: "OOM kills of this job are seen only in the kernel log",
      mend: "give the container /sys/fs/cgroup read-only; on the host, enable the memory controller",
    };
  }
  if (dirs.memory.version === 1) {
    return {
      state: "degraded",
      detail,
      cost:
        "no pressure of this job alone, and crun refuses to start containers on hybrid hosts (runc works)",
      mend: "boot the host with systemd.unified_cgroup_hierarchy=1, where nothing needs version 1",
    };
  }
  return { state: "ok", detail };
}

async function memoryBytes(proc: string): Promise<number | undefined> {
  const kib = /^MemTotal:\s+(\d+) kB$/m.exec(await Deno.readTextFile(`${proc}/meminfo`))?.[1];
  return kib === undefined ? undefined : Number(kib) * 1_024;
}
