/**
 * How a run ended where nothing inside of the machine explains it: asked to end, failed by itself, or cut off from
 * outside.
 *
 * @module
 */
import { type Evidence, evidence } from "../evidence.ts";
import type { Facts } from "../facts.ts";
import { isHealthy } from "../health.ts";
import type { LogRecord } from "../record.ts";
import type { Confidence, Finding } from "../types.ts";

/** Logs that stop so close to each other stopped for one reason. */
const TOGETHER_MS = 15_000;
const SIGNAL_NAMES: Record<number, string> = {
  1: "SIGHUP",
  2: "SIGINT",
  3: "SIGQUIT",
  9: "SIGKILL",
  15: "SIGTERM",
};
/** SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV. */
const CRASHES: ReadonlySet<number> = new Set([4, 5, 6, 7, 8, 11]);
const POLITE = new Set(["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"]);

/** A signal asked the probe, or the job through it, to end. */
export function politeEnd(facts: Facts): Finding | undefined {
  const { end } = facts.run;
  if (end === undefined) return undefined;
  const reason = end.get("reason");
  const name = signalName(end.get("sig")) ?? politeSignalOf(facts);
  if (reason !== "signal" && reason !== "stopped" && name === undefined) return undefined;
  return {
    class: "polite_end",
    confidence: "high",
    summary: `${name ?? "A request"} asked it to end before it was done`,
    evidence: [...facts.recentEvents("signal").slice(-2), end].map((record) => evidence(record)),
    check: ["who sent it: a cancelled job, preemption, a time limit, a drained node, a rollout"],
  };
}

/** The signal that davit passed on, where the job ended of it. */
function politeSignalOf({ run: { end }, options }: Facts): string | undefined {
  const name = signalName(end?.get("cmd_signal")) ?? signalOfExit(options.jobExit);
  return name !== undefined && POLITE.has(name) ? name : undefined;
}

/** "SIGTERM" of "15", "TERM" or "SIGTERM". */
function signalName(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return SIGNAL_NAMES[Number(text)] ?? `signal ${text}`;
  return text.startsWith("SIG") ? text : `SIG${text}`;
}

function signalOfExit(exit: number | undefined): string | undefined {
  return exit === undefined || exit <= 128 ? undefined : SIGNAL_NAMES[exit - 128];
}

/** The job ended by itself, unwell, while the machine was fine. */
export function jobFailed(facts: Facts): Finding | undefined {
  const { end } = facts.run;
  if (end?.get("reason") !== "exit" || isFromOutside(signalName(end.get("cmd_signal")))) return undefined;
  const { exit } = facts;
  if (exit === undefined || exit === 0 || exit === 128 + 9) return undefined;
  // The kernel log has every tenant's crashes; only a job that ended like one is known to have had one.
  const hasCrashed = exit > 128 && CRASHES.has(exit - 128);
  const crashes = facts.recentKernel("segfault");
  return {
    class: "job_failed",
    confidence: hasCrashed && crashes.length > 0 ? "high" : "medium",
    summary: crashes.length > 0
      ? `The job ended with ${exit} after ${hasCrashed ? "it" : "a program, its own or another's,"} crashed`
      : `The job ended by itself with ${exit}, and nothing here explains it from outside`,
    evidence: [...crashes.slice(0, 3), end].map((record) => evidence(record)),
    check: ["the job's own output before its end"],
  };
}

/** A crash's signals (SIGSEGV, SIGABRT, SIGBUS) are the job's own doing. */
function isFromOutside(name: string | undefined): boolean {
  return name !== undefined && (name === "SIGKILL" || POLITE.has(name));
}

/** Other logs of the node that stopped at the same moment. */
export function hostEvent(facts: Facts): Finding | undefined {
  const { siblings = [] } = facts.options;
  const { end, start } = facts.run;
  const together = siblings.filter(({ lastMs, hasEnd }) =>
    !hasEnd && Math.abs(lastMs - facts.lastMs) <= TOGETHER_MS
  );
  if (
    end !== undefined || facts.isQuiet || facts.wentOn || facts.last === undefined || together.length === 0
  ) {
    return undefined;
  }
  const bootId = start?.get("boot_id");
  const isProven = bootId !== undefined && together.every((sibling) => sibling.bootId === bootId);
  return {
    class: "host_event",
    confidence: isProven ? "high" : "medium",
    summary: `${together.length + 1} logs went silent within ${
      TOGETHER_MS / 1000
    } s of each other, none with a goodbye: their host did it${
      isProven ? "" : " (that they are of one host is taken from your giving them together)"
    }`,
    evidence: [evidence(facts.last), ...together.flatMap(({ last }) => last ?? [])],
    check: [
      "the host's own log of that minute: reboot, out of memory, full disk or /dev/shm, runtime restart",
      "the scheduler or autoscaler: a node that was drained, deleted or reclaimed",
    ],
  };
}

/** Healthy until the end, which came from outside; only where something tells when or how the job ended. */
export function externalEnd(facts: Facts): Finding | undefined {
  const { end } = facts.run;
  const isKilled = end?.get("reason") === "exit" &&
    (signalName(end.get("cmd_signal")) === "SIGKILL" || facts.exit === 128 + 9);
  if (isKilled) return external(facts, "high", [end], "The job was killed by SIGKILL from outside");
  if (end !== undefined || facts.isQuiet) return undefined;
  const { outlivedMs } = facts;
  const endedTogether = outlivedMs !== undefined && outlivedMs <= facts.silenceMs;
  if (!endedTogether && facts.options.jobExit === undefined) return undefined;
  const what = facts.wentOn ? "The job ended and the probe went on" : "It was cut off without a word";
  return external(facts, endedTogether ? "medium" : "low", [], what);
}

/** The same where the log just stops, and nothing tells whether the job did. */
export function openEnd(facts: Facts): Finding | undefined {
  if (
    facts.isQuiet || facts.run.end !== undefined || facts.knownEndMs !== undefined ||
    facts.run.next !== undefined
  ) {
    return undefined;
  }
  return external(facts, "low", [], "The log stops without a word; whether the job did too nothing tells");
}

function external(
  facts: Facts,
  confidence: Confidence,
  end: readonly (LogRecord | undefined)[],
  what: string,
): Finding | undefined {
  if (!isHealthy(facts)) return undefined;
  const records: Evidence[] = [...facts.samples.slice(-3), ...end.flatMap((record) => record ?? [])]
    .map((record) => evidence(record));
  return {
    class: "external_end",
    confidence,
    summary: `${what}, and the last samples are healthy`,
    evidence: records,
    check: [
      "who may end it from outside: the scheduler, an autoscaler, a controller that deletes pods, the hypervisor",
      "the host's kernel log and the logs of other jobs on the node: give them to this command together",
    ],
  };
}
