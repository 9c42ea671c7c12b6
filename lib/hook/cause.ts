/**
 * Why a job ended and whose doing that was: a pure function of what was observed. What nothing proves stays unknown.
 *
 * @module
 */
import { escapeControls } from "../host/logfmt.ts";
import type { OomEvent } from "../host/oom.ts";
import type { ChildEnd } from "../host/process.ts";
import type { OomFindings } from "./oom_watch.ts";
import type { Cause, Fault } from "./protocol.ts";

/** Why we ended a job ourselves. */
export type Reason = "killed_by_request" | "lease_lost" | "server_stopped";

/** Signals that we sent to a job. */
export interface Ending {
  readonly reason: Reason;
  /** Each with the time before the job's end, milliseconds. */
  readonly signals: readonly { readonly name: string; readonly beforeEndMs: number }[];
  readonly leaseMs?: number;
}

/** What is known of a job's end. */
export interface EndFacts {
  readonly end: ChildEnd;
  readonly ending: Ending | undefined;
  /** Undefined where nothing asked for it. */
  readonly oom: OomFindings | undefined;
  /** Its process did not go after SIGKILL. */
  readonly isStuck: boolean;
}

/** What it comes to. */
export interface Verdict {
  readonly cause: Cause;
  readonly fault: Fault;
  /** Sentences without a final period. */
  readonly evidence: readonly string[];
}

const KILLED = 137;
/** Signals that a program brings upon itself. */
const OWN_FAULTS = new Set([
  ...[
    "SIGSEGV",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGILL",
    "SIGSYS",
    "SIGTRAP",
    "SIGPIPE",
    "SIGXCPU",
    "SIGXFSZ",
  ],
]);

/** See the module's description. */
export function verdictOf({ end, ending, oom, isStuck }: EndFacts): Verdict {
  if (isStuck) {
    const evidence = ["its process did not end within 10 s of SIGKILL: the kernel does not let it go"];
    return { cause: ending?.reason ?? "signal", fault: "infra", evidence };
  }
  const isKilled = end.signal === "SIGKILL" || end.code === KILLED;
  const wasOurs = ending?.signals.some(({ name }) => name === "SIGKILL") ?? false;
  if (isKilled && !wasOurs && oom !== undefined && oom.kills > 0) return oomVerdict(oom);
  if (ending !== undefined) return endingVerdict(ending);
  if (end.signal !== null) return signalVerdict(end.signal, oom);
  if (end.code === 0) return { cause: "exit", fault: "none", evidence: [] };
  return { cause: "exit", fault: "script", evidence: oomNotes(oom) };
}

function oomVerdict(oom: OomFindings): Verdict {
  const isMachine = oom.events.some(({ origin }) => origin === "machine");
  return {
    cause: "oom",
    fault: isMachine ? "infra" : oom.isOwnLimit ? "script" : "unknown",
    evidence: oomNotes(oom),
  };
}

function endingVerdict({ reason, signals, leaseMs }: Ending): Verdict {
  const sent = signals.map(({ name, beforeEndMs }) =>
    `${name} was sent ${(beforeEndMs / 1000).toFixed(1)} s before its end`
  );
  if (reason === "killed_by_request") {
    return { cause: reason, fault: "unknown", evidence: ["it was asked to be ended", ...sent] };
  }
  const why = reason === "lease_lost"
    ? `no client was heard for ${Math.round((leaseMs ?? 0) / 1000)} s`
    : "the hook server was told to stop";
  return { cause: reason, fault: "infra", evidence: [why, ...sent] };
}

function signalVerdict(signal: string, oom: OomFindings | undefined): Verdict {
  if (OWN_FAULTS.has(signal)) return { cause: "signal", fault: "script", evidence: oomNotes(oom) };
  return {
    cause: "signal",
    fault: "unknown",
    evidence: [`${signal} came neither from the hook server nor, as far as is known, from the OOM killer`],
  };
}

function oomNotes(oom: OomFindings | undefined): string[] {
  if (oom === undefined || oom.kills === 0) return [];
  if (oom.events.length > 0) return oom.events.map(describe);
  return [
    `the OOM killer ended ${oom.kills} process${oom.kills === 1 ? "" : "es"} of the step's cgroup meanwhile`,
  ];
}

function describe({ pid, comm, origin, oomMemcg, usageKb, limitKb, victim }: OomEvent): string {
  const who = `process ${pid ?? "?"} (${escapeControls(comm ?? "?")})`;
  const size = victim === undefined ? "" : ` with ${Math.round(victim.anonRssKb / 1024)} MiB`;
  const where = origin === "machine"
    ? "the machine had no memory left"
    : `cgroup ${escapeControls(oomMemcg ?? "?")} was at its limit`;
  const numbers = usageKb === undefined || limitKb === undefined ? "" : ` (${usageKb} of ${limitKb} KiB)`;
  return `the kernel's log says that the OOM killer ended ${who}${size}: ${where}${numbers}`;
}
