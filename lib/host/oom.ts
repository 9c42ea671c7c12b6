/**
 * Joins the lines that one OOM kill leaves in the kernel log to one event. Which lines there are depends on the
 * kernel, and in a burst all but the last are rate-limited, so each may be missing.
 *
 * @module
 */
import type { KmsgRecord } from "./kmsg.ts";
import { type OomLine, type OomOrigin, type OomSummary, type OomVictim, parseOomLine } from "./oom_lines.ts";

/** One decision of the OOM killer. */
export interface OomEvent {
  /**
   * killed; exiting: the victim was on its way out already; none: nothing could be killed; chosen: a victim was
   * named, but no line says that it was killed.
   */
  readonly outcome: "killed" | "exiting" | "none" | "chosen";
  /** Undefined where only a bare `Killed process` came. */
  readonly origin: OomOrigin | undefined;
  readonly constraint: string | undefined;
  /** The cgroup whose limit was hit. */
  readonly oomMemcg: string | undefined;
  /** The victim's cgroup. */
  readonly taskMemcg: string | undefined;
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  readonly uid: number | undefined;
  readonly victim: OomVictim | undefined;
  /** The process whose allocation began it. */
  readonly invokedBy: string | undefined;
  /** Memory of the cgroup whose limit was hit, KiB. */
  readonly usageKb: number | undefined;
  readonly limitKb: number | undefined;
  /** Killed only because memory.oom.group kills a cgroup as a whole. */
  readonly isGroupMember: boolean;
  /** Of the last line that belongs to it. */
  readonly seq: number;
  readonly stampUs: number;
  readonly isOld: boolean;
}

/** Where a line was. */
interface Place {
  readonly seq: number;
  readonly stampUs: number;
  readonly isOld: boolean;
}

/** What the lines before the summary said. */
interface Report {
  readonly stampUs: number;
  invokedBy?: string;
  usageKb?: number;
  limitKb?: number | undefined;
  taskIn?: { readonly taskMemcg: string; readonly oomMemcg: string };
  chosen?: { readonly pid: number; readonly origin: OomOrigin; readonly stampUs: number };
  /** Pieces of a summary, put together. */
  part?: string;
}

interface Pending {
  readonly summary: OomSummary;
  readonly place: Place;
  readonly report: Report;
}

/** A summary and the kill with its pid are one event within this time; so are the members of a group. */
export const JOIN_WINDOW_US = 5_000_000;
/** `Kill process` and `Killed process` of old kernels, whose pids may differ. */
const CHOSEN_WINDOW_US = 1_000_000;
const PENDING_LIMIT = 32;
const PART_LIMIT_CHARS = 4_096;

/** Takes lines in the order of their records and gives events. */
export class OomJoiner {
  readonly #emit: (event: OomEvent) => void;
  readonly #pending = new Map<number, Pending>();
  #report: Report = { stampUs: -Infinity };
  #lastSummary: { readonly summary: OomSummary; readonly stampUs: number } | undefined;
  #group: { readonly memcg: string; readonly stampUs: number } | undefined;

  constructor(emit: (event: OomEvent) => void) {
    this.#emit = emit;
  }

  /** Whether a victim was named of which nothing more has come. */
  get hasPending(): boolean {
    return this.#pending.size > 0;
  }

  /** Takes a record; true when it was one of the family. */
  take(record: KmsgRecord, isOld: boolean): boolean {
    const line = parseOomLine(record.text);
    if (line === undefined) return false;
    this.#accept(line, { seq: record.seq, stampUs: record.stampUs, isOld });
    return true;
  }

  /** Gives what is still pending, without waiting for its kill. */
  flush(): void {
    for (const [pid, pending] of this.#pending) {
      this.#pending.delete(pid);
      this.#emitSummary("chosen", pending, pending.place);
    }
  }

  #accept(line: OomLine, place: Place): void {
    const report = this.#reportAt(line, place.stampUs);
    switch (line.kind) {
      case "invoked":
        report.invokedBy = line.comm;
        break;
      case "usage":
        report.usageKb = line.usageKb;
        report.limitKb = line.limitKb;
        break;
      case "task_in":
        report.taskIn = line;
        break;
      case "chosen":
        report.chosen = { pid: line.pid, origin: line.origin, stampUs: place.stampUs };
        break;
      case "summary":
        this.#keep(line.summary, place, report);
        break;
      case "summary_part":
        this.#addPart(line.text, place, report);
        break;
      case "kill":
        this.#kill(line, place, report);
        break;
      case "exiting":
        this.#exit(line, place, report);
        break;
      case "no_victim":
        this.#emit({ ...blank(place), outcome: "none", origin: line.origin, ...contextOf(report) });
        break;
      case "group":
        this.#group = { memcg: line.memcg, stampUs: place.stampUs };
        break;
      case "reaped":
      case "unreapable":
        break; // nothing about who or why
    }
  }

  /** A report begins with its `invoked` line, or with whatever comes first after a while without any. */
  #reportAt(line: OomLine, stampUs: number): Report {
    if (line.kind === "invoked" || stampUs - this.#report.stampUs > JOIN_WINDOW_US) {
      this.#report = { stampUs };
    }
    return this.#report;
  }

  #keep(summary: OomSummary, place: Place, report: Report): void {
    delete report.part;
    this.#lastSummary = { summary, stampUs: place.stampUs };
    this.#pending.set(summary.pid, { summary, place, report });
    if (this.#pending.size <= PENDING_LIMIT) return;
    const [pid, oldest] = this.#pending.entries().next().value!;
    this.#pending.delete(pid);
    this.#emitSummary("chosen", oldest, oldest.place);
  }

  #addPart(text: string, place: Place, report: Report): void {
    const isFirst = text.startsWith("oom-kill:");
    if (!isFirst && report.part === undefined) return; // its beginning was lost
    const joined = (isFirst ? text : report.part + text).slice(0, PART_LIMIT_CHARS);
    report.part = joined;
    const line = parseOomLine(joined);
    if (line?.kind === "summary") this.#keep(line.summary, place, report);
  }

  #kill({ victim, origin }: Extract<OomLine, { kind: "kill" }>, place: Place, report: Report): void {
    // The next kill of a burst may come without a report, and must not be given this one's.
    this.#report = { stampUs: -Infinity };
    const isChosen = report.chosen !== undefined &&
      place.stampUs - report.chosen.stampUs <= CHOSEN_WINDOW_US;
    const chosen = isChosen ? report.chosen : undefined;
    const pending = this.#takePending(victim.pid, place.stampUs) ??
      (chosen && this.#takePending(chosen.pid, place.stampUs));
    if (pending) return this.#emitSummary("killed", pending, place, victim);

    const isFree = chosen === undefined && report.part === undefined;
    const group = isFree && origin !== "machine" ? this.#groupAt(place.stampUs) : undefined;
    const part = /^oom-kill:constraint=(CONSTRAINT_\w+)/.exec(report.part ?? "")?.[1];
    this.#emit({
      ...blank(place),
      outcome: "killed",
      origin: origin ?? chosen?.origin ?? (report.taskIn ? "memcg" : undefined),
      constraint: group?.constraint ?? part,
      ...group ? { oomMemcg: group.oomMemcg, taskMemcg: group.taskMemcg } : memcgsOf(undefined, report),
      ...contextOf(report),
      pid: victim.pid,
      comm: victim.comm,
      uid: victim.uid,
      victim,
      isGroupMember: group !== undefined,
    });
  }

  #exit(line: Extract<OomLine, { kind: "exiting" }>, place: Place, report: Report): void {
    const { pid, comm, origin } = line;
    const pending = this.#takePending(pid, place.stampUs);
    if (pending) return this.#emitSummary("exiting", pending, place);
    this.#emit({
      ...blank(place),
      outcome: "exiting",
      origin,
      pid,
      comm,
      ...memcgsOf(undefined, report),
      ...contextOf(report),
    });
  }

  /** What is known of a kill without a summary of its own that follows a `memory.oom.group` line. */
  #groupAt(stampUs: number): Pick<OomSummary, "constraint" | "oomMemcg" | "taskMemcg"> | undefined {
    if (this.#group === undefined || stampUs - this.#group.stampUs > JOIN_WINDOW_US) return undefined;
    const { memcg } = this.#group;
    const last = this.#lastSummary;
    if (last === undefined || stampUs - last.stampUs > JOIN_WINDOW_US) return undefined;
    return { constraint: last.summary.constraint, oomMemcg: last.summary.oomMemcg, taskMemcg: memcg };
  }

  #takePending(pid: number, stampUs: number): Pending | undefined {
    const pending = this.#pending.get(pid);
    if (pending === undefined) return undefined;
    this.#pending.delete(pid);
    if (stampUs - pending.place.stampUs <= JOIN_WINDOW_US) return pending;
    this.#emitSummary("chosen", pending, pending.place); // the number has been given to another process
    return undefined;
  }

  #emitSummary(
    outcome: OomEvent["outcome"],
    { summary, report }: Pending,
    place: Place,
    victim?: OomVictim,
  ): void {
    const { constraint, comm, pid, uid } = summary;
    this.#emit({
      ...blank(place),
      outcome,
      origin: summary.oomMemcg === undefined ? "machine" : "memcg",
      constraint,
      ...memcgsOf(summary, report),
      ...contextOf(report),
      // Of a sacrificed child the summary knows nothing.
      pid: victim?.pid ?? pid,
      comm: victim?.comm ?? comm,
      uid: victim?.uid ?? uid,
      victim,
    });
  }
}

function blank({ seq, stampUs, isOld }: Place): Omit<OomEvent, "outcome"> {
  return {
    origin: undefined,
    constraint: undefined,
    oomMemcg: undefined,
    taskMemcg: undefined,
    pid: undefined,
    comm: undefined,
    uid: undefined,
    victim: undefined,
    invokedBy: undefined,
    usageKb: undefined,
    limitKb: undefined,
    isGroupMember: false,
    seq,
    stampUs,
    isOld,
  };
}

function memcgsOf(summary: OomSummary | undefined, { taskIn }: Report) {
  return {
    oomMemcg: summary?.oomMemcg ?? taskIn?.oomMemcg,
    taskMemcg: summary?.taskMemcg ?? taskIn?.taskMemcg,
  };
}

function contextOf({ invokedBy, usageKb, limitKb }: Report) {
  return { invokedBy, usageKb, limitKb };
}
