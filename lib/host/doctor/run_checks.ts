/**
 * Makes all checks at once, each with a deadline of its own: a dead mount or a hung driver costs its own
 * line.
 *
 * @module
 */
import { errnoOf } from "../errno.ts";
import { type Check, type Finding, reasonOf } from "./check.ts";

/** How long a look has, after its signal, to say in its own words what did not answer. */
export const GRACE_MS = 1_000;

/** How {@linkcode runChecks} goes about it. */
export interface RunChecksOptions {
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  /** Called with the place in the list as soon as a check is made. */
  readonly onFinding: (index: number, finding: Finding) => void;
}

/**
 * Makes `checks`. Throws the abort reason, after every look had its chance to remove what it made, and
 * whatever a look throws that no system call explains: that is a bug.
 */
export async function runChecks(checks: readonly Check[], options: RunChecksOptions): Promise<void> {
  const { deadlineMs, signal, onFinding } = options;
  const ends = await Promise.allSettled(checks.map(async (check, index) => {
    onFinding(index, await lookInTime(check, deadlineMs, signal));
  }));
  signal.throwIfAborted();
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

async function lookInTime(check: Check, deadlineMs: number, signal: AbortSignal): Promise<Finding> {
  const late = new AbortController();
  const inner = setTimeout(() => late.abort(), deadlineMs);
  const { promise: expired, resolve: expire } = Promise.withResolvers<Finding>();
  const outer = setTimeout(() => expire(noAnswer(deadlineMs)), deadlineMs + GRACE_MS);
  try {
    return await Promise.race([check.look(AbortSignal.any([signal, late.signal])), expired]);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return {
      state: "degraded",
      detail: `cannot be looked at: ${reasonOf(error)}`,
      cost: "not known",
    };
  } finally {
    clearTimeout(inner);
    clearTimeout(outer);
  }
}

/** The finding of a look that did not come back. */
export function noAnswer(deadlineMs: number): Finding {
  return {
    state: "degraded",
    detail: `no answer after ${deadlineMs / 1_000} s`,
    cost: "whatever uses it hangs as well, and may be impossible to kill",
    mend: "look for a dead file server or driver: `dmesg`, /proc/PID/wchan of what hangs",
  };
}
