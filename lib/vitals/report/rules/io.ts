/**
 * Everything waited for a disk or a file server.
 *
 * @module
 */
import { evidence } from "../evidence.ts";
import type { Facts, Window } from "../facts.ts";
import type { LogRecord } from "../record.ts";
import type { Finding } from "../types.ts";

const SPAN_MS = 20_000;
const FULL_PERCENT = 60;
/** The peer has no `full` of I/O, only an average of `some`. */
const SOME_AVERAGE_PERCENT = 80;
const BUSY_PERCENT = 30;

/** Pressure near the end, or the kernel's own complaints. */
export function ioStall(facts: Facts): Finding | undefined {
  const window = stalledWindow(facts);
  const lines = kernelLines(facts);
  if (window === undefined && lines.length === 0) return undefined;
  return {
    class: "io_stall",
    confidence: window !== undefined && lines.length > 0 ? "high" : "medium",
    summary: window === undefined
      ? "The kernel reported tasks or devices that waited for I/O"
      : `Tasks waited for I/O ${window.mean.toFixed(0)} % of ${
        (window.spanMs / 1000).toFixed(0)
      } s while the CPUs had nothing to do`,
    evidence: [
      ...window === undefined ? [] : [evidence(window.first), evidence(window.last)],
      ...lines.slice(0, 5).map((line) => evidence(line)),
    ],
    check: [
      "the filesystem the job works on: a network filesystem's server, a failing disk, a throttled volume",
    ],
  };
}

function stalledWindow(facts: Facts): Window | undefined {
  const full = facts.worstShare("io_psi_full_usec", SPAN_MS);
  const window = full ?? facts.worstMean("io_psi_some_avg10", SPAN_MS);
  if (window === undefined || window.mean < (full === undefined ? SOME_AVERAGE_PERCENT : FULL_PERCENT)) {
    return undefined;
  }
  return (facts.meanIn(window, "cpu_busy_pct") ?? 0) >= BUSY_PERCENT ? undefined : window;
}

function kernelLines(facts: Facts): LogRecord[] {
  const servers = facts.recentKernel("nfs");
  const isBack = servers.at(-1)?.get("class") === "ok";
  return [
    ...facts.recentKernel("hung_task"),
    ...facts.recentKernel("nvme").filter((line) => line.get("class") !== "removed"),
    ...isBack ? [] : servers.filter((line) => line.get("class") === "not_responding"),
  ];
}
