/**
 * OOM kills in a run, and whose memory ran out. The kernel's word comes first; where it does not tell (inside a
 * cgroup namespace own paths cannot be compared, and tuist's probe does not try) the cgroup's counters decide:
 * `oom` rises only when a limit of this cgroup was hit, `oom_kill` also when somebody else's was.
 *
 * @module
 */
import { escapeControls } from "../../host/logfmt.ts";
import type { SampleKey } from "../keys.ts";
import type { Facts } from "./facts.ts";
import type { LogRecord } from "./record.ts";
import type { Confidence } from "./types.ts";

/** Whose memory ran out. */
export type KillScope = "own" | "ancestor" | "other" | "global" | "numa";

/** One kill, or several that only a counter knows of. */
export interface Kill {
  readonly scope: KillScope;
  readonly confidence: Confidence;
  readonly records: readonly LogRecord[];
  readonly tsMs: number;
  /** "python (pid 3695)", escaped. */
  readonly victim: string | undefined;
  readonly note: string | undefined;
  /** What was killed is a probe, which is there to be killed first. */
  readonly isOfProbe: boolean;
}

/** `none`: nothing could be killed; `exiting`: what was chosen was on its way out already. Nobody died of those. */
const KILLED: ReadonlySet<string | undefined> = new Set([undefined, "killed", "chosen"]);
/** A probe beside a command has it, and its GPU helper more. */
const PROBE_OOM_SCORE_ADJ = 900;
const SCOPES: readonly string[] = ["own", "ancestor", "other", "global", "numa"];
/** The summary, the kill and the next sample of one kill; and a counter's rise that a record explains. */
const JOIN_MS = 5_000;
/** tuist's watcher prints the kernel's whole memory, stamped with now, when it begins. */
const TUIST_REPLAY_MS = 2_000;

/** All kills of the run in order of time. */
export function killsOf(facts: Facts): Kill[] {
  const records = facts.events("oom").filter((event) =>
    KILLED.has(event.get("outcome")) && !isReplayed(event, facts)
  );
  const kills = joinedByPid(records).map((group) => killOf(group, facts));
  const explained = kills.some(({ scope }) => scope !== "other");
  const counted = explained ? undefined : countedKill(facts);
  return counted === undefined ? kills : [...kills, counted];
}

function isReplayed(event: LogRecord, { history, run }: Facts): boolean {
  if (event.dialect !== "tuist" || history.runs[0] !== run) return false;
  const firstMs = Math.min(...[run.overview[0], run.events[0]].map((record) => record?.tsMs ?? Infinity));
  return event.tsMs - firstMs < TUIST_REPLAY_MS;
}

/** The peer prints summary and kill apart. */
function joinedByPid(records: readonly LogRecord[]): LogRecord[][] {
  const groups: LogRecord[][] = [];
  for (const record of records) {
    const twin = groups.find(([first]) =>
      first!.get("pid") === record.get("pid") && record.tsMs - first!.tsMs <= JOIN_MS
    );
    if (twin !== undefined && record.dialect === "tuist") twin.push(record);
    else groups.push([record]);
  }
  return groups;
}

function killOf(records: readonly LogRecord[], facts: Facts): Kill {
  const field = (key: string) =>
    records.map((record) => record.get(key)).find((value) => value !== undefined);
  const tsMs = records[0]!.tsMs;
  const named = records.map((record) => record.get("scope")).find((scope) => SCOPES.includes(scope ?? ""));
  const judged = named === undefined
    ? judgeByCounters(facts, tsMs)
    : field("own_victim") === "false"
    ? judgeElsewhere(named as KillScope, facts)
    : { scope: named as KillScope, confidence: "high" as const, note: undefined };
  const pid = field("pid");
  return {
    ...judged,
    records,
    tsMs,
    victim: pid === undefined ? undefined : `${escapeControls(field("comm") ?? "?")} (pid ${pid})`,
    isOfProbe: isProbe(pid, field("comm"), Number(field("oom_score_adj")), facts),
  };
}

/** By the start lines' process ids; in a namespace the kernel log has others, and the name must do. */
function isProbe(
  pid: string | undefined,
  comm: string | undefined,
  adj: number,
  { history }: Facts,
): boolean {
  if (!(adj >= PROBE_OOM_SCORE_ADJ)) return false;
  return comm === "davit" || history.runs.some(({ start }) => pid !== undefined && start?.get("pid") === pid);
}

type Judged = Pick<Kill, "scope" | "confidence" | "note">;

/**
 * The victim was in another cgroup. A machine without memory fails those too that it does not kill, unless one
 * command is all that counts.
 */
function judgeElsewhere(scope: KillScope, { run }: Facts): Judged {
  const isOfMachine = scope === "global" && run.start?.get("mode") !== "command";
  if (isOfMachine) return { scope, confidence: "medium", note: "the victim was in another cgroup" };
  const note = scope === "other"
    ? undefined
    : "a limit that this cgroup is under, but the victim was in another";
  return { scope: "other", confidence: "high", note };
}

function judgeByCounters(facts: Facts, tsMs: number): Judged {
  const note = "whose limit it was is judged by the cgroup's own counters";
  const limitHit = riseOf(facts, "oom");
  const killed = riseOf(facts, "oom_kill");
  if (limitHit !== undefined) return { scope: "own", confidence: "high", note };
  if (killed !== undefined && facts.has("oom")) return { scope: "ancestor", confidence: "medium", note };
  if (killed !== undefined || isAtLimit(facts)) return { scope: "own", confidence: "medium", note };
  const wasSampled = facts.lastMs - tsMs > facts.intervalMs && facts.has("oom_kill");
  return wasSampled
    ? { scope: "other", confidence: "medium", note }
    : { scope: "own", confidence: "low", note: "nothing tells whose limit it was" };
}

function countedKill(facts: Facts): Kill | undefined {
  const counted = countKilled(facts);
  const isOfProbe = counted !== undefined && counted <= restartsOf(facts);
  const found = findCounted(facts);
  return found && { ...found, isOfProbe };
}

/** How far the own cgroup's counter went. */
function countKilled(facts: Facts): number | undefined {
  const [first, last] = [baselineOf(facts, "oom_kill"), facts.last?.number("oom_kill")];
  return first === undefined || last === undefined ? undefined : last - first;
}

/** How many probes before this one were ended by SIGKILL; each may be one of what the counter tells. */
function restartsOf(facts: Facts): number {
  return facts.events("restarted").at(-1)?.number("probes_killed") ?? 0;
}

function findCounted(facts: Facts): Kill | undefined {
  const killed = riseOf(facts, "oom_kill");
  const elsewhere = facts.samples.filter((sample) => (sample.number("vm_oom_kill_events") ?? 0) > 0).at(-1);
  if (killed === undefined) {
    if (elsewhere === undefined || !isStarved(facts)) return undefined;
    const note = "only the machine's counter tells of it";
    return kill("global", "medium", elsewhere, note);
  }
  const limitHit = riseOf(facts, "oom") !== undefined;
  if (limitHit || isAtLimit(facts)) {
    return kill("own", "medium", killed, "only the cgroup's counters tell of it");
  }
  if (isStarved(facts)) {
    return kill(
      "global",
      "medium",
      killed,
      "the cgroup was below its limit and the machine had no memory left",
    );
  }
  return facts.has("oom")
    ? kill("ancestor", "low", killed, "a process was killed, but not at this cgroup's limit")
    : kill("own", "medium", killed, "only a counter tells of it");
}

function kill(scope: KillScope, confidence: Confidence, record: LogRecord, note: string): Kill {
  const { tsMs } = record;
  return { scope, confidence, records: [record], tsMs, victim: undefined, note, isOfProbe: false };
}

/** What an absolute counter was when the run began; with a command: when that did. */
function baselineOf(facts: Facts, key: SampleKey): number | undefined {
  const records = [...facts.events("restarted"), ...facts.run.overview, ...facts.samples];
  return records.map((record) => record.number(key)).find((value) => value !== undefined);
}

/** The last sample in which an absolute counter rose above what it was when the run began. */
function riseOf(facts: Facts, key: SampleKey): LogRecord | undefined {
  const { samples } = facts;
  const baseline = baselineOf(facts, key);
  if (baseline === undefined) return undefined;
  let before = baseline;
  let risen: LogRecord | undefined;
  for (const sample of samples) {
    const value = sample.number(key);
    if (value === undefined) continue;
    if (value > before) risen = sample;
    before = value;
  }
  return risen;
}

const AT_LIMIT = 0.9;
const STARVED = 0.05;

function isAtLimit({ last }: Facts): boolean {
  const [current, limit] = [last?.number("mem_current"), last?.number("mem_max")];
  return current !== undefined && limit !== undefined && current >= AT_LIMIT * limit;
}

function isStarved({ last }: Facts): boolean {
  const [available, total] = [last?.number("vm_mem_avail_kb"), last?.number("vm_mem_total_kb")];
  return available !== undefined && total !== undefined && available < STARVED * total;
}
