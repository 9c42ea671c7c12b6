/**
 * No more processes or files: the cgroup's limit of tasks, or the machine's of open files.
 *
 * @module
 */
import { isWithin } from "../../oom_scope.ts";
import { evidence } from "../evidence.ts";
import type { Facts } from "../facts.ts";
import type { LogRecord } from "../record.ts";
import type { Finding } from "../types.ts";

const FULL_SHARE = 0.98;

/** A count at its limit, refusals counted, or the kernel's word. */
export function pidsExhausted(facts: Facts): Finding | undefined {
  const lines = facts.recentKernel("pids", "filemax").filter((line) => isOurs(line, facts));
  const counted = facts.samples.filter((sample) =>
    facts.isRecent(sample) && (sample.number("pids_max_events") ?? 0) > 0
  );
  const full = fullSample(facts);
  const records = [...full === undefined ? [] : [full], ...counted.slice(-2), ...lines.slice(0, 3)];
  if (records.length === 0) return undefined;
  const isFiles = lines.some((line) => line.get("tag") === "filemax") && full === undefined &&
    counted.length === 0;
  return {
    class: "pids_exhausted",
    confidence: "high",
    summary: isFiles
      ? "The machine's limit of open files was reached"
      : `The cgroup's limit of tasks was reached${
        full === undefined ? "" : `: ${full.number("pids")} of ${full.number("pids_max")}`
      }`,
    evidence: [...new Set(records)].map((record) => evidence(record)),
    check: [
      isFiles
        ? "fs.file-max, and who holds the files (`lsof`)"
        : "pids.max, and which program starts so many threads",
    ],
  };
}

/** The kernel log has every cgroup's refusals. Where paths cannot be compared, an own counter that is there decides. */
function isOurs(line: LogRecord, facts: Facts): boolean {
  const { start } = facts.run;
  const theirs = line.get("cgroup");
  if (theirs === undefined) return true;
  const own = start?.get("cgroup_namespaced") === "true" ? undefined : start?.get("cgroup");
  if (own === undefined) return !facts.has("pids_max_events");
  return isWithin(theirs, own) || isWithin(own, theirs);
}

function fullSample(facts: Facts): LogRecord | undefined {
  const now = facts.recent("pids");
  const limit = now?.record.number("pids_max");
  return now !== undefined && limit !== undefined && now.value >= FULL_SHARE * limit ? now.record : undefined;
}
