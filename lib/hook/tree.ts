/**
 * All processes of one job, those included that left its session or its environment behind. We are the subreaper, so
 * what has lost its parent comes to us; where we could not become that, the mark in the environment is what is left.
 *
 * @module
 */
import { isChildless, markOf, type ProcessRow, readProcess, readProcesses, signal } from "./processes.ts";
import type { Survivor } from "./protocol.ts";

/** Beyond this many rounds somebody forks faster than we kill. */
const KILL_ROUNDS = 100;
const ROUND_MS = 10;

/** What is alive below us already, when a job begins: none of it is the job's. */
export type Bystanders = ReadonlyMap<number, number>;

/** Children of this process and all below them, with their start times. */
export function bystanders(proc = "/proc"): Bystanders {
  if (isChildless(proc)) return new Map();
  const rows = readProcesses(proc);
  const below = [...rows.values()].filter((row) =>
    ancestorsOf(row, rows).some(({ ppid }) => ppid === Deno.pid)
  );
  return new Map(below.map(({ pid, startTicks }) => [pid, startTicks]));
}

/** Whose tree it is. */
export interface TreeOptions {
  /** The process that was started, a session's leader. */
  readonly pid: number;
  readonly mark: string;
  readonly before: Bystanders;
  /** Whatever loses its parent comes to us: then nothing of the job is elsewhere. */
  readonly isSubreaper: boolean;
  readonly proc?: string;
}

/** See the module's description. */
export class ProcessTree {
  readonly #options: TreeOptions;
  readonly #proc: string;
  readonly #startTicks: number;
  #isLeaderReaped = false;

  constructor(options: TreeOptions) {
    this.#options = options;
    this.#proc = options.proc ?? "/proc";
    this.#startTicks = readProcess(options.pid, this.#proc)?.startTicks ?? 0;
  }

  /** The leader was waited for: its number may be another's from now on. */
  leaderEnded(): void {
    this.#isLeaderReaped = true;
  }

  /** Whether anything of it runs. Cheap where we have no children at all. */
  survivors(): Survivor[] {
    if (isChildless(this.#proc)) return [];
    return this.#members().map(({ pid, name }) => ({ pid, name }));
  }

  /** Sends one signal to all of it; a stopped process is woken for it. How many it went to. */
  signal(name: "SIGINT" | "SIGTERM"): number {
    const members = this.#send(name);
    for (const { pid } of members) signal(pid, "SIGCONT");
    return members.length;
  }

  /** Ends all of it for certain. What is left belongs to other users, or the kernel does not let it go. */
  async kill(): Promise<Survivor[]> {
    for (let round = 0; round < KILL_ROUNDS; round++) {
      // Stopped first: what is stopped forks no more, while the others are being found.
      for (const { pid } of this.#members()) signal(pid, "SIGSTOP");
      if (this.#send("SIGKILL").length === 0) return [];
      await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
    }
    return this.survivors();
  }

  #send(name: Deno.Signal): ProcessRow[] {
    const { pid } = this.#options;
    // At once for the group; who is in it is not asked twice, since a signal may be counted.
    const hasGroup = !this.#isLeaderReaped && signal(-pid, name);
    const members = this.#members();
    for (const member of members) if (!(hasGroup && member.pgrp === pid)) signal(member.pid, name);
    return members;
  }

  #members(): ProcessRow[] {
    const rows = readProcesses(this.#proc);
    const members: ProcessRow[] = [];
    for (const row of rows.values()) {
      if (!row.isZombie && row.pid !== Deno.pid && this.#isMember(row, rows)) members.push(row);
    }
    return members;
  }

  #isMember(row: ProcessRow, rows: ReadonlyMap<number, ProcessRow>): boolean {
    const { pid, mark, before, isSubreaper } = this.#options;
    if (row.startTicks < this.#startTicks) return false;
    if (!this.#isLeaderReaped && row.session === pid) return true;
    const line = ancestorsOf(row, rows);
    if (line.some((ancestor) => before.get(ancestor.pid) === ancestor.startTicks)) return false;
    const top = line.find(({ ppid }) => ppid === Deno.pid);
    if (top?.pid === pid && !this.#isLeaderReaped) return true;
    if (top === undefined && isSubreaper) return false;
    // A child of something that runs since an earlier job has that job's mark, if it has any.
    const found = markOf((top ?? row).pid, this.#proc);
    return found === mark || (top !== undefined && found === undefined);
  }
}

/** A process and what is above it, itself first. */
function ancestorsOf(row: ProcessRow, rows: ReadonlyMap<number, ProcessRow>): ProcessRow[] {
  const line = [row];
  for (let at = rows.get(row.ppid); at !== undefined && line.length < rows.size; at = rows.get(at.ppid)) {
    line.push(at);
  }
  return line;
}
