/**
 * A cgroup's counters of OOM kills when a command starts. A probe that the kernel killed, perhaps together with the
 * command, has a successor whose first sample is too late to tell what rose.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { locateCgroup } from "../host/cgroup.ts";
import { CgroupSources } from "./cgroup_sources.ts";
import { Deltas } from "./deltas.ts";
import type { Sample } from "./keys.ts";

/** Absolute, as in a sample; undefined where the kernel does not count. */
export interface KillCounters {
  readonly oom?: number | undefined;
  readonly oom_kill?: number | undefined;
}

/** Reads the counters of the own cgroup or a given one; none where there is no such cgroup. */
export function readKillCounters(
  { cgroup, proc = "/proc" }: { cgroup?: string | undefined; proc?: string } = {},
): KillCounters {
  try {
    using sources = new CgroupSources(locateCgroup({ cgroup, proc }), () => {});
    const sample: Sample = new Map();
    const machine = { memoryBytes: undefined, tasks: undefined, tasksMax: undefined };
    sources.read(sample, new Deltas(), performance.now(), machine);
    return { oom: numberOf(sample.get("oom")), oom_kill: numberOf(sample.get("oom_kill")) };
  } catch (error) {
    if (error instanceof Failure) return {}; // the probe says so
    throw error;
  }
}

function numberOf(value: number | "max" | undefined): number | undefined {
  return typeof value === "number" ? value : undefined;
}
