/**
 * What a log cannot show. Absence of evidence in it must not be read as evidence of absence.
 *
 * @module
 */
import type { Facts } from "./facts.ts";

/** One sentence for each thing that could not be seen. */
export function notObservable(facts: Facts): string[] {
  if (facts.last === undefined) return ["everything: the log has no sample"];
  const { start } = facts.run;
  const isTuist = facts.history.dialect === "tuist";
  const kmsg = start?.get("kmsg");
  const hasCounter = facts.has("oom_kill");
  const said: (string | false)[] = [
    start === undefined && !isTuist &&
    "how the probe was started: its start line is not in the log; the interval is taken from the samples",
    isTuist && !facts.events("oom").length &&
    "whether the kernel log was readable: tuist's probe does not say, and no line of it is no proof of no OOM kill",
    kmsg !== undefined && kmsg !== "ok" &&
    `the kernel log (kmsg=${kmsg}): ${
      hasCounter
        ? "OOM kills are seen by the cgroup's counter only, Xid and disk errors not at all"
        : "neither OOM kills nor Xid and disk errors could be seen"
    }`,
    kmsg === undefined && !isTuist && !hasCounter &&
    "OOM kills: neither kernel log nor a counter of the cgroup",
    facts.events("kmsg_lost").length > 0 && "some kernel lines: they were overwritten before they were read",
    start?.get("cgroup_verified") === "false" &&
    "the job's own cgroup for certain: its values may be another's",
    !facts.has("mem_current") && "memory of the job's cgroup",
    !facts.has("mem_psi_full_avg10") && !facts.has("mem_psi_full_usec") &&
    `stalls by memory, disk and CPU: no pressure values${
      start?.get("psi") ? ` (psi=${start.get("psi")})` : ""
    }`,
    !facts.has("disk_root_avail_bytes") && "full disks",
    !facts.has("pids") && "the number of tasks",
    facts.run.gpus.length === 0 && (start?.number("gpus") ?? 1) > 0 && "the GPUs' state",
    facts.knownEndMs === undefined && facts.run.end === undefined && "when the job ended (--ended)",
    facts.exit === undefined && "how the job ended (--job-exit)",
    (facts.options.siblings ?? []).length === 0 &&
    "what became of other jobs on the node (give their logs too)",
  ];
  return said.filter((sentence) => sentence !== false);
}
