/**
 * The limits of a cgroup, and those of its ancestors that are lower. "No limit" has many spellings: `max`, and on
 * v1 the largest number that fits into pages of 4 or 64 KiB.
 *
 * @module
 */
import type { CgroupLocation, ControllerDir } from "./cgroup.ts";
import { keyedNumber } from "./procfs.ts";

/** Beyond this a number is not exact, and no machine has 8 PiB: such a limit is none. */
const NO_LIMIT_FROM = 2 ** 53;

/** Limits of one cgroup; undefined is what could not be read. */
export interface CgroupLimits {
  /** Bytes; `max` when there is none below the machine's memory. */
  readonly memoryMax: number | "max" | undefined;
  /** Bytes: the lowest of the cgroup's limit, its visible ancestors' and the machine's memory. */
  readonly memoryEffective: number | undefined;
  /** CPUs that the quotas of the cgroup and its visible ancestors leave; undefined when there is none. */
  readonly cpuCores: number | undefined;
  readonly pidsMax: number | "max" | undefined;
}

/** A limit as the kernel writes it. `ceiling`: from there on it limits nothing, e.g. the machine's memory. */
export function parseLimit(text: string, ceiling: number = NO_LIMIT_FROM): number | "max" | undefined {
  const word = text.trim();
  if (word === "max" || word === "-1") return "max";
  if (!/^\d+$/.test(word)) return undefined;
  const value = Number(word);
  return value >= Math.min(ceiling, NO_LIMIT_FROM) ? "max" : value;
}

/** The file that has a controller's hard limit. */
export function limitFile({ version }: ControllerDir, controller: "memory" | "pids"): string {
  if (controller === "pids") return "pids.max";
  return version === 2 ? "memory.max" : "memory.limit_in_bytes";
}

/** Reads the limits. `memoryTotalBytes`: the machine's memory, undefined when not known. */
export function readLimits(
  { dirs: { memory, cpu, pids } }: CgroupLocation,
  memoryTotalBytes: number | undefined,
): CgroupLimits {
  const memoryMax = memory && limitOf(memory.path, limitFile(memory, "memory"), memoryTotalBytes);
  const bounds = [memoryTotalBytes, ...memory ? memoryBounds(memory) : []]
    .filter((bound) => typeof bound === "number");
  const cores = (cpu ? lineage(cpu) : []).map((path) => coresOf(path, cpu!.version))
    .filter((count) => count !== undefined);
  return {
    memoryMax,
    memoryEffective: bounds.length === 0 ? undefined : Math.min(...bounds),
    cpuCores: cores.length === 0 ? undefined : Math.min(...cores),
    pidsMax: pids && limitOf(pids.path, limitFile(pids, "pids")),
  };
}

function memoryBounds(dir: ControllerDir): (number | "max" | undefined)[] {
  const bounds = lineage(dir).map((path) => limitOf(path, limitFile(dir, "memory")));
  if (dir.version === 2) return bounds;
  // The kernel's own minimum over all ancestors, those outside of a namespace included.
  const hierarchical = keyedNumber(textOf(`${dir.path}/memory.stat`) ?? "", "hierarchical_memory_limit");
  return [...bounds, hierarchical === undefined ? undefined : parseLimit(String(hierarchical))];
}

/** The directory and those above it, up to the mount point. */
function lineage({ path, mountPoint }: ControllerDir): string[] {
  const directories = [path];
  for (let at = path; at.length > mountPoint.length && at.startsWith(mountPoint);) {
    at = at.slice(0, at.lastIndexOf("/"));
    directories.push(at);
  }
  return directories;
}

function limitOf(directory: string, file: string, ceiling?: number): number | "max" | undefined {
  const text = textOf(`${directory}/${file}`);
  return text === undefined ? undefined : parseLimit(text, ceiling);
}

function coresOf(directory: string, version: 1 | 2): number | undefined {
  const [quota, period] = version === 2
    ? (textOf(`${directory}/cpu.max`) ?? "").trim().split(" ")
    : [textOf(`${directory}/cpu.cfs_quota_us`), textOf(`${directory}/cpu.cfs_period_us`)];
  const limit = parseLimit(quota ?? "");
  const periodUsec = Number(period);
  return typeof limit === "number" && periodUsec > 0 ? limit / periodUsec : undefined;
}

function textOf(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined; // the root has no limits, and a controller may not be enabled
  }
}
