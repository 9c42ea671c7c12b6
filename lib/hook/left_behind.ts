/**
 * What a hook server that was killed left running: processes with its mark, which names the server, and all below
 * them. The successor on the same address ends them; others are only told about.
 *
 * @module
 */
import type { Log } from "../host/log.ts";
import { markOf, type ProcessRow, readProcess, readProcesses, signal } from "./processes.ts";

/** One server's own part of its jobs' marks. */
export interface MarkOwner {
  readonly pid: number;
  readonly startTicks: number;
  /** Where it listens; a free port has none that a successor could have. */
  readonly place: string;
}

/** The mark of a job: id, server, place. */
export function formatMark({ pid, startTicks, place }: MarkOwner, id: string): string {
  return `${id}/${pid}.${startTicks}/${encodeURIComponent(place)}`;
}

/** Reads a mark; undefined when it is none. */
export function parseMark(text: string): (MarkOwner & { readonly id: string }) | undefined {
  const [, id, pid, ticks, place] = /^([^/]+)\/(\d+)\.(\d+)\/([^/]*)$/.exec(text) ?? [];
  if (id === undefined) return undefined;
  try {
    return { id, pid: Number(pid), startTicks: Number(ticks), place: decodeURIComponent(place!) };
  } catch {
    return undefined; // somebody else's variable of the same name
  }
}

/** Who looks, and where. */
export interface LeftBehindOptions {
  /** Empty where nobody can be our predecessor. */
  readonly place: string;
  readonly log: Log;
  readonly proc?: string;
}

const GRACE_MS = 2_000;
const ROUND_MS = 20;

/** Ends the trees of our predecessors, and says what it found, a sentence each. */
export async function endLeftBehind({ place, log, proc = "/proc" }: LeftBehindOptions): Promise<string[]> {
  const found = findLeftBehind(proc);
  const notices: string[] = [];
  const ours: ProcessRow[] = [];
  for (const [text, rows] of found) {
    const mark = parseMark(text)!;
    const who = rows.map(({ pid, name }) => `${pid} (${name})`).join(", ");
    const isOurs = place !== "" && mark.place === place;
    if (isOurs) ours.push(...rows);
    notices.push(
      `job "${mark.id}" of a hook server that is gone (process ${mark.pid}) still runs${
        isOurs ? ", it is ended now" : ", it is left alone"
      }: ${who}`,
    );
  }
  for (const text of notices) log.warn(text);
  await endAll(ours, proc);
  return notices;
}

/** Processes by the mark of a job whose server is gone. */
function findLeftBehind(proc: string): Map<string, ProcessRow[]> {
  const rows = readProcesses(proc);
  const namespace = namespaceOf("self", proc);
  const roots = new Map<string, ProcessRow[]>();
  for (const row of rows.values()) {
    if (row.isZombie || row.pid === Deno.pid) continue;
    const text = markOf(row.pid, proc);
    const mark = text === undefined ? undefined : parseMark(text);
    if (mark === undefined || isRunning(mark, rows)) continue;
    // Numbers of another namespace mean other processes here.
    if (namespaceOf(String(row.pid), proc) !== namespace) continue;
    roots.set(text!, [...roots.get(text!) ?? [], row]);
  }
  for (const [text, marked] of roots) roots.set(text, withOthers(marked, rows));
  return roots;
}

/** And those that lost the mark: in the same sessions, or below. */
function withOthers(marked: readonly ProcessRow[], rows: ReadonlyMap<number, ProcessRow>): ProcessRow[] {
  const pids = new Set(marked.map(({ pid }) => pid));
  const sessions = new Set(marked.map(({ session }) => session));
  for (let size = -1; size !== pids.size;) {
    size = pids.size;
    for (const { pid, ppid, session, isZombie } of rows.values()) {
      if (!isZombie && pid !== Deno.pid && (pids.has(ppid) || sessions.has(session))) pids.add(pid);
    }
  }
  return [...pids].map((pid) => rows.get(pid)!);
}

function isRunning({ pid, startTicks }: MarkOwner, rows: ReadonlyMap<number, ProcessRow>): boolean {
  const owner = rows.get(pid);
  return owner?.startTicks === startTicks && !owner.isZombie;
}

async function endAll(processes: readonly ProcessRow[], proc: string): Promise<void> {
  const alive = () =>
    processes.filter(({ pid, startTicks }) => {
      const now = readProcess(pid, proc);
      return now?.startTicks === startTicks && !now.isZombie;
    });
  for (const name of ["SIGTERM", "SIGKILL"] as const) {
    for (const { pid } of alive()) signal(pid, name);
    for (const { pid } of alive()) signal(pid, "SIGCONT");
    for (const sinceMs = performance.now(); performance.now() - sinceMs < GRACE_MS;) {
      if (alive().length === 0) return;
      await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
    }
  }
}

function namespaceOf(pid: string, proc: string): string | undefined {
  try {
    return Deno.readLinkSync(`${proc}/${pid}/ns/pid`);
  } catch {
    return undefined; // ended, or not ours to look at
  }
}
