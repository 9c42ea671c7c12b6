/**
 * Pressure stall information: how long tasks waited for a resource (Documentation/accounting/psi.rst).
 *
 * @module
 */
import { type Counter, counterAt } from "./procfs.ts";

/** One row of a pressure file. */
export interface Stall {
  /** Percent of the last ten seconds, a moving average that lags: a stall of 3 s reads as 26 %. */
  readonly avg10: number;
  /** Microseconds of waiting since boot: exact over any interval. */
  readonly totalUsec: Counter;
}

/** A pressure file. */
export interface Pressure {
  /** At least one task waited. */
  readonly some: Stall;
  /** All tasks waited; kernels before 5.13 have no such row for CPUs. */
  readonly full: Stall | undefined;
}

/** Reads the text of /proc/pressure/* or a cgroup's *.pressure; undefined when it is none. */
export function parsePressure(text: string): Pressure | undefined {
  const some = stallIn(text, "some");
  return some && { some, full: stallIn(text, "full") };
}

function stallIn(text: string, name: "some" | "full"): Stall | undefined {
  const start = text.startsWith(`${name} `) ? 0 : text.indexOf(`\n${name} `) + 1;
  if (start === 0 && !text.startsWith(name)) return undefined;
  const end = text.indexOf("\n", start);
  const line = end < 0 ? text.slice(start) : text.slice(start, end);
  const average = line.indexOf(" avg10=");
  const total = line.indexOf(" total=");
  if (average < 0 || total < 0) return undefined;
  const avg10 = Number.parseFloat(line.slice(average + 7));
  const totalUsec = counterAt(line, total + 7);
  return Number.isNaN(avg10) || totalUsec === undefined ? undefined : { avg10, totalUsec };
}

/** Whether pressure can be read; `off` is a kernel that was not booted with psi=1. */
export type PressureState = "ok" | "off" | "absent" | "denied";

/** What a reading of /proc/pressure/memory says by how it failed: `failure` as of KeptFile in procfs.ts. */
export function pressureState(failure: string | undefined): PressureState {
  if (failure === undefined) return "ok";
  if (failure === "EOPNOTSUPP") return "off";
  return failure === "EACCES" || failure === "EPERM" ? "denied" : "absent";
}
