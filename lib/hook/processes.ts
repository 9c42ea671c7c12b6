/**
 * The processes of this machine or container and how they hang together, from proc_pid_stat(5).
 *
 * @module
 */
import { MARK } from "./job_env.ts";

/** One process. */
export interface ProcessRow {
  readonly pid: number;
  readonly ppid: number;
  readonly pgrp: number;
  readonly session: number;
  /** Ticks since boot; with the pid it names a process for good. */
  readonly startTicks: number;
  readonly name: string;
  readonly isZombie: boolean;
}

/** All that can be seen, by pid. */
export function readProcesses(proc = "/proc"): Map<number, ProcessRow> {
  const rows = new Map<number, ProcessRow>();
  for (const { name } of Deno.readDirSync(proc)) {
    const row = /^\d+$/.test(name) ? readProcess(Number(name), proc) : undefined;
    if (row !== undefined) rows.set(row.pid, row);
  }
  return rows;
}

/** One of them; undefined when it has ended. */
export function readProcess(pid: number, proc = "/proc"): ProcessRow | undefined {
  let text: string;
  try {
    text = Deno.readTextFileSync(`${proc}/${pid}/stat`);
  } catch {
    return undefined; // ended, or hidden from us
  }
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return {
    pid,
    ppid: Number(fields[1]),
    pgrp: Number(fields[2]),
    session: Number(fields[3]),
    startTicks: Number(fields[19]),
    name: text.slice(text.indexOf("(") + 1, text.lastIndexOf(")")),
    isZombie: fields[0] === "Z" || fields[0] === "X",
  };
}

/** The mark in a process's environment; undefined where there is none or it is not ours to read. */
export function markOf(pid: number, proc = "/proc"): string | undefined {
  let text: string;
  try {
    text = Deno.readTextFileSync(`${proc}/${pid}/environ`);
  } catch {
    return undefined;
  }
  return text.split("\0").find((entry) => entry.startsWith(`${MARK}=`))?.slice(MARK.length + 1);
}

/** Whether the children of this process are none at all; false where that cannot be told. 9 µs. */
export function isChildless(proc = "/proc"): boolean {
  try {
    return Deno.readTextFileSync(`${proc}/self/task/${Deno.pid}/children`).trim() === "";
  } catch {
    return false; // a kernel without CONFIG_PROC_CHILDREN
  }
}

/** Sends a signal; false when there is nobody, or somebody who is not ours to signal. */
export function signal(pid: number, name: Deno.Signal): boolean {
  try {
    Deno.kill(pid, name);
    return true;
  } catch (error) {
    // ESRCH: ended. EPERM: another user's, as after sudo.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) return false;
    throw error;
  }
}
