/**
 * The status file that a lock's holder keeps, so that those who wait know for whom and whether it still moves.
 * Written by rename every few seconds; read by any process of any host that shares the directory.
 *
 * @module
 */
import type { Activity } from "./activity.ts";
import { errnoOf } from "./errno.ts";
import type { Log } from "./log.ts";
import { escapeControls } from "./logfmt.ts";
import { formatBytes, formatDuration } from "../units.ts";

/** How often a holder writes. A waiter needs two or three of them to see a standstill. */
export const BEAT_MS = 2_000;

/** Who holds the lock. */
export interface Identity {
  readonly host: string;
  readonly pid: number;
  readonly uid: number | null;
  readonly job: string | undefined;
  /** What is being made, for people. */
  readonly what: string;
}

/** The content of the status file. */
export interface HolderStatus extends Identity {
  readonly schema: 1;
  /** Differs for each time the lock is held. */
  readonly id: string;
  /** RFC 3339. */
  readonly since: string;
  readonly phase: string;
  readonly attempt: number;
  readonly bytes: number;
  readonly ticks: number;
  readonly total_bytes: number | undefined;
  readonly updated: string;
}

/** Reads the status; undefined when there is none, or one that cannot be read or understood. */
export async function readHolderStatus(path: string): Promise<HolderStatus | undefined> {
  try {
    const value = JSON.parse(await Deno.readTextFile(path));
    return typeof value === "object" && value?.schema === 1 && typeof value.id === "string"
      ? value
      : undefined;
  } catch (error) {
    // Only a name for a message is lost. ENOENT is usual: an old shell script holds the lock.
    if (error instanceof SyntaxError || errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}

/** Changes whenever the holder got further; equal strings mean a standstill. */
export function progressOf(status: HolderStatus | undefined): string {
  return status === undefined
    ? ""
    : [status.id, status.phase, status.attempt, status.bytes, status.ticks].join(" ");
}

/** "job 4711 on node-12, pid 99 (download, 18.2 GB)", for a waiter's line. */
export function describeHolder(status: HolderStatus): string {
  const who = status.job === undefined
    ? `pid ${status.pid} on ${status.host}`
    : `job ${status.job} on ${status.host}`;
  const age = Date.now() - Date.parse(status.updated);
  const bytes = status.bytes > 0 ? `, ${formatBytes(status.bytes)}` : "";
  // Clocks of two hosts may differ: an age that cannot be is left out.
  const ago = age >= 0 && age < 86_400_000 ? `, seen ${formatDuration(age)} ago` : "";
  return escapeControls(`${who} (${status.phase}${bytes}${ago})`);
}

/** Keeps the status file until disposed, then removes it. A directory that refuses it costs only the message. */
export class HolderBeat implements AsyncDisposable {
  readonly #path: string;
  readonly #base: Omit<HolderStatus, "phase" | "attempt" | "bytes" | "ticks" | "total_bytes" | "updated">;
  readonly #activity: Activity;
  readonly #log: Log;
  readonly #timer: ReturnType<typeof setInterval>;
  #writing: Promise<void> = Promise.resolve();
  #refused = false;

  constructor(path: string, identity: Identity, { activity, log }: { activity: Activity; log: Log }) {
    this.#path = path;
    this.#base = { schema: 1, id: crypto.randomUUID(), since: new Date().toISOString(), ...identity };
    this.#activity = activity;
    this.#log = log;
    this.#timer = setInterval(() => this.#beat(), BEAT_MS);
    this.#beat();
  }

  #beat(): void {
    this.#writing = this.#writing.then(() => this.#write());
  }

  async #write(): Promise<void> {
    if (this.#refused) return;
    const { phase, attempt, doneBytes, totalBytes, ticks } = this.#activity;
    const status: HolderStatus = {
      ...this.#base,
      phase,
      attempt,
      bytes: doneBytes,
      ticks,
      total_bytes: totalBytes,
      updated: new Date().toISOString(),
    };
    // One fixed name beside it: the lock makes us the only writer, and a dead holder's is simply overwritten.
    const temp = `${this.#path}.new`;
    try {
      await Deno.writeTextFile(temp, JSON.stringify(status), { mode: 0o644 });
      await Deno.rename(temp, this.#path);
    } catch (error) {
      this.#refused = true;
      this.#log.warn("cannot keep the status file, waiting jobs will not see progress", {
        path: this.#path,
        errno: errnoOf(error),
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
    await removeHolderStatus(this.#path, this.#log);
  }
}

/** Removes a status file; only for whoever holds the lock. */
export async function removeHolderStatus(statusPath: string, log: Log): Promise<void> {
  for (const path of [statusPath, `${statusPath}.new`]) {
    try {
      await Deno.remove(path);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") {
        log.warn("cannot remove the status file", { path, errno: errnoOf(error) });
      }
    }
  }
}

/** Whether a holder is at work or died at it: a living one removes its status file when it lets go. */
export async function hasHolderStatus(statusPath: string): Promise<boolean> {
  for (const path of [statusPath, `${statusPath}.new`]) {
    try {
      await Deno.lstat(path);
      return true;
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") return false; // nothing to be done there
    }
  }
  return false;
}
