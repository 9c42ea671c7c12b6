/**
 * The lines that the kernel's OOM killer writes, from 3.13 to 6.18. Their shapes are those of mm/oom_kill.c and
 * mm/memcontrol.c; a process name is up to 15 bytes that its owner chose, brackets and commas among them, so names
 * are matched greedily. All patterns are anchored: an application may print any of these words.
 *
 * @module
 */

/** What ran out: a cgroup's limit, or the machine's memory (or the part of it that the task may use). */
export type OomOrigin = "memcg" | "machine";

/** One line, understood. Sizes are in KiB. */
export type OomLine =
  | { readonly kind: "invoked"; readonly comm: string }
  | { readonly kind: "usage"; readonly usageKb: number; readonly limitKb: number | undefined }
  /** Up to 4.20: whose limit it was. */
  | { readonly kind: "task_in"; readonly taskMemcg: string; readonly oomMemcg: string }
  /** Up to 5.0: who was chosen; up to 4.20 a child of it may be killed instead. */
  | { readonly kind: "chosen"; readonly origin: OomOrigin; readonly pid: number; readonly comm: string }
  | { readonly kind: "summary"; readonly summary: OomSummary }
  /** The kernel prints a summary in pieces; another CPU's line may come between them. */
  | { readonly kind: "summary_part"; readonly text: string }
  | { readonly kind: "kill"; readonly origin: OomOrigin | undefined; readonly victim: OomVictim }
  | { readonly kind: "exiting"; readonly origin: OomOrigin; readonly pid: number; readonly comm: string }
  | { readonly kind: "no_victim"; readonly origin: OomOrigin }
  | { readonly kind: "group"; readonly memcg: string }
  | { readonly kind: "reaped" | "unreapable"; readonly pid: number };

/** The `oom-kill:` line: which limit was hit, by whose process. */
export interface OomSummary {
  /** CONSTRAINT_NONE, _MEMCG, _CPUSET or _MEMORY_POLICY. */
  readonly constraint: string;
  /** The cgroup whose limit was hit; undefined when it was the machine's memory. */
  readonly oomMemcg: string | undefined;
  /** The victim's cgroup. */
  readonly taskMemcg: string;
  readonly comm: string;
  readonly pid: number;
  readonly uid: number;
}

/** The process that was killed; absent values are those that its kernel does not print. */
export interface OomVictim {
  readonly pid: number;
  readonly comm: string;
  readonly uid: number | undefined;
  readonly totalVmKb: number;
  readonly anonRssKb: number;
  readonly fileRssKb: number;
  readonly shmemRssKb: number | undefined;
  readonly pgtablesKb: number | undefined;
  readonly oomScoreAdj: number | undefined;
}

const ORIGIN = String.raw`(Out of memory|Memory cgroup out of memory)(?: \([^)]*\))?`;
const KILL_REGEXP = new RegExp(
  String.raw`^(?:${ORIGIN}: )?Killed process (\d+) \((.*)\),?(?: UID (\d+),)? total-vm:(\d+)kB, ` +
    String.raw`anon-rss:(\d+)kB, file-rss:(\d+)kB(?:, shmem-rss:(\d+)kB)?` +
    String.raw`(?:, UID:(\d+) pgtables:(\d+)kB oom_score_adj:(-?\d+))?`,
);
const CHOSEN_REGEXP = new RegExp(`^${ORIGIN}: Kill process (\\d+) \\((.*)\\) score \\d+ or sacrifice child`);
const EXITING_REGEXP = new RegExp(`^${ORIGIN}: OOM victim (\\d+) \\((.*)\\) is already exiting`);
const NO_VICTIM_REGEXP = new RegExp(`^${ORIGIN} and no killable processes`);
const SUMMARY_REGEXP =
  /^oom-kill:constraint=(CONSTRAINT_\w+),nodemask=.*?,cpuset=.*?,mems_allowed=[\d,-]*,(?:oom_memcg=(.*?)|global_oom),task_memcg=(.*?),task=(.*),pid=(\d+),uid=(\d+)$/;
const SUMMARY_PART_REGEXP =
  /^(?:oom-kill:constraint=|,cpuset=|,mems_allowed=|,oom_memcg=|,global_oom|,task_memcg=)/;
const GROUP_REGEXP = /^Tasks in (.*) are going to be killed due to memory\.oom\.group set/;
const TASK_IN_REGEXP = /^Task in (.*) killed as a result of limit of (.*)$/;
const REAPER_REGEXP = /^oom_reaper: (reaped process |unable to reap pid:)(\d+)/;
const INVOKED_REGEXP = /^(.*) invoked oom-killer: gfp_mask=/;
const USAGE_REGEXP = /^memory: usage (\d+)kB, limit (\d+)kB, failcnt \d+/;

/** From here on a limit is none: 2^63 bytes in pages of 4 or 64 KiB, printed in KiB. */
const NO_LIMIT_KB = 2 ** 50;

/** Reads one line; undefined when it is none of the family. */
export function parseOomLine(text: string): OomLine | undefined {
  return parseKill(text) ?? parseSummary(text) ?? parseOther(text);
}

function parseKill(text: string): OomLine | undefined {
  const match = KILL_REGEXP.exec(text);
  if (!match) return undefined;
  const [, origin, pid, comm = "", oldUid, totalVm, anon, file, shmem, uid, pgtables, adj] = match;
  const totalVmKb = Number(totalVm);
  return {
    kind: "kill",
    origin: originOf(origin),
    victim: {
      pid: Number(pid),
      comm,
      uid: maybe(uid ?? oldUid),
      totalVmKb,
      anonRssKb: Number(anon),
      fileRssKb: Number(file),
      shmemRssKb: maybe(shmem),
      pgtablesKb: pgtables === undefined ? undefined : kibibytesOfTables(Number(pgtables), totalVmKb),
      oomScoreAdj: maybe(adj),
    },
  };
}

/** Early 5.4 printed bytes and called them kB. Tables take 1/512 of what they map, and little where it is sparse. */
function kibibytesOfTables(printed: number, totalVmKb: number): number {
  return printed > totalVmKb / 8 + 4096 ? Math.round(printed / 1024) : printed;
}

function parseSummary(text: string): OomLine | undefined {
  const match = SUMMARY_REGEXP.exec(text);
  if (!match) return SUMMARY_PART_REGEXP.test(text) ? { kind: "summary_part", text } : undefined;
  const [, constraint = "", oomMemcg, taskMemcg = "", comm = "", pid, uid] = match;
  return {
    kind: "summary",
    summary: { constraint, oomMemcg, taskMemcg, comm, pid: Number(pid), uid: Number(uid) },
  };
}

function parseOther(text: string): OomLine | undefined {
  let match: RegExpExecArray | null;
  if ((match = INVOKED_REGEXP.exec(text))) return { kind: "invoked", comm: match[1]! };
  if ((match = USAGE_REGEXP.exec(text))) {
    const limitKb = Number(match[2]);
    return {
      kind: "usage",
      usageKb: Number(match[1]),
      limitKb: limitKb < NO_LIMIT_KB ? limitKb : undefined,
    };
  }
  if ((match = CHOSEN_REGEXP.exec(text))) {
    return { kind: "chosen", origin: originOf(match[1])!, pid: Number(match[2]), comm: match[3]! };
  }
  if ((match = TASK_IN_REGEXP.exec(text))) {
    return { kind: "task_in", taskMemcg: match[1]!, oomMemcg: match[2]! };
  }
  if ((match = EXITING_REGEXP.exec(text))) {
    return { kind: "exiting", origin: originOf(match[1])!, pid: Number(match[2]), comm: match[3]! };
  }
  if ((match = NO_VICTIM_REGEXP.exec(text))) return { kind: "no_victim", origin: originOf(match[1])! };
  if ((match = GROUP_REGEXP.exec(text))) return { kind: "group", memcg: match[1]! };
  if ((match = REAPER_REGEXP.exec(text))) {
    return { kind: match[1]!.startsWith("reaped") ? "reaped" : "unreapable", pid: Number(match[2]) };
  }
  return undefined;
}

function originOf(words: string | undefined): OomOrigin | undefined {
  return words === undefined ? undefined : words.startsWith("Memory cgroup") ? "memcg" : "machine";
}

function maybe(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}
