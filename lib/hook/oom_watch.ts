/**
 * Whether the kernel's OOM killer came while a job ran: by the counters of our cgroup, and by the kernel log where we
 * may read it. Both are read when a job has ended in a way that asks for it, so that they cost nothing before.
 *
 * @module
 */
import { type CgroupLocation, locateCgroup } from "../host/cgroup.ts";
import { openKmsg } from "../host/kmsg_device.ts";
import { kmsgRecords } from "../host/kmsg_records.ts";
import { type OomEvent, OomJoiner } from "../host/oom.ts";
import { keyedNumber } from "../host/procfs.ts";

/** The counters at one time; undefined where there are none. */
export interface OomCounts {
  /** Processes of this cgroup that were killed for want of memory, whosever. */
  readonly kills: number | undefined;
  /** How often the cgroup's own limit was hit. */
  readonly limitHits: number | undefined;
  /** The kernel's clock, microseconds. */
  readonly atUs: number;
}

/** What came between. */
export interface OomFindings {
  readonly kills: number;
  readonly isOwnLimit: boolean;
  /** From the kernel log, those that concern the job. */
  readonly events: readonly OomEvent[];
}

/** Where to look; a test gives its own places. */
export interface OomWatchOptions {
  readonly proc?: string;
  readonly kmsg?: string;
}

/** The first process id namespace (PROC_PID_INIT_INO): its numbers are those of the kernel log. */
const INITIAL_PIDS = "pid:[4026531836]";
/** Stamps of the log are of another clock than /proc/uptime, and that has hundredths of a second. */
const SLACK_US = 1_000_000;

/** Reads counters and log of this process's cgroup. */
export class OomWatch {
  readonly #proc: string;
  readonly #kmsg: string;
  readonly #cgroup: CgroupLocation;
  readonly #hasGlobalPids: boolean;
  /** The last record that was looked at: what an earlier job had is not the next one's. */
  #seenSeq = -1;

  constructor({ proc = "/proc", kmsg = "/dev/kmsg" }: OomWatchOptions = {}) {
    this.#proc = proc;
    this.#kmsg = kmsg;
    this.#cgroup = locateCgroup({ proc });
    this.#hasGlobalPids = linkOf(`${proc}/self/ns/pid`) === INITIAL_PIDS;
  }

  /** To be called before a job begins. */
  counts(): OomCounts {
    const atUs = Number.parseFloat(textOf(`${this.#proc}/uptime`) ?? "0") * 1e6;
    const { memory } = this.#cgroup.dirs;
    if (memory === undefined) return { kills: undefined, limitHits: undefined, atUs };
    const events =
      textOf(`${memory.path}/${memory.version === 2 ? "memory.events" : "memory.oom_control"}`) ??
        "";
    return {
      kills: keyedNumber(events, "oom_kill"),
      limitHits: memory.version === 2
        ? keyedNumber(events, "oom")
        : numberOf(textOf(`${memory.path}/memory.failcnt`)),
      atUs,
    };
  }

  /** What came since, for the job whose first process was `pid`; `isKilled`: somebody killed that one. */
  since(before: OomCounts, pid: number, { isKilled }: { isKilled: boolean }): OomFindings {
    const now = this.counts();
    const kills = (now.kills ?? 0) - (before.kills ?? 0);
    const isOurs = (event: OomEvent) => this.#isOurs(event, pid, kills > 0);
    // The whole log takes 10 ms.
    const events = kills > 0 || isKilled ? this.#eventsSince(before.atUs - SLACK_US).filter(isOurs) : [];
    const isOwnLimit = events.length > 0
      ? events.every(({ origin }) => origin === "memcg")
      : (now.limitHits ?? 0) > (before.limitHits ?? 0);
    return { kills: Math.max(kills, events.length), isOwnLimit, events };
  }

  #isOurs({ outcome, pid, taskMemcg }: OomEvent, jobPid: number, isCounted: boolean): boolean {
    if (outcome === "none") return false;
    if (this.#hasGlobalPids && pid === jobPid) return true;
    const { path = "/", isNamespaced } = this.#cgroup;
    if (isNamespaced) return isCounted; // the log has a longer path, which we cannot know
    return path !== "/" && (taskMemcg === path || taskMemcg?.startsWith(`${path}/`) === true);
  }

  #eventsSince(sinceUs: number): OomEvent[] {
    const opening = openKmsg(this.#kmsg);
    if (opening.state !== "ok") return [];
    const events: OomEvent[] = [];
    let seenSeq = this.#seenSeq;
    const joiner = new OomJoiner((event) => events.push(event));
    try {
      for (const record of kmsgRecords(opening.device)) {
        if (record.facility !== 0 || record.stampUs < sinceUs || record.seq <= this.#seenSeq) continue;
        joiner.take(record, false);
        seenSeq = record.seq;
      }
      joiner.flush();
    } finally {
      opening.device.close();
      this.#seenSeq = seenSeq;
    }
    return events;
  }
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined || !/^\d+\s*$/.test(text) ? undefined : Number(text);
}

function textOf(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined; // no such controller here, or none of ours to read
  }
}

function linkOf(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return undefined;
  }
}
