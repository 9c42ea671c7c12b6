/**
 * One process works, all others wait for its result: a lock, a status file, and the patience of those who wait.
 * The lock only saves work. Whoever uses this must stay correct without it, because on some filesystems it is
 * refused or ends at the node.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { formatDuration } from "../units.ts";
import type { Activity } from "./activity.ts";
import { sleep } from "./backoff.ts";
import { lockOwner, type LockTry, tryLock } from "./flock.ts";
import {
  describeHolder,
  HolderBeat,
  type HolderStatus,
  type Identity,
  progressOf,
  readHolderStatus,
} from "./holder_status.ts";
import type { Log } from "./log.ts";

const FIRST_POLL_MS = 50;
const LAST_POLL_MS = 1_000;

/** How long to wait, and for what. */
export interface SingleFlightOptions<T> {
  readonly lockPath: string;
  readonly statusPath: string;
  readonly identity: Identity;
  /** Give up after this long without progress of whoever holds the lock. */
  readonly lockTimeoutMs: number;
  /** Give up after this long in any case. */
  readonly maxWaitMs: number | undefined;
  /** Is the result there already? Asked before each try and again under the lock. */
  readonly find: () => Promise<T | undefined>;
  /** Changes when a holder that keeps no status file got further (an old script writing the target). */
  readonly foreignProgress: () => Promise<string>;
  readonly activity: Activity;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** What waiting led to. */
export type Flight<T> =
  | { readonly kind: "found"; readonly value: T; readonly wait: Wait }
  | { readonly kind: "mine"; readonly wait: Wait; readonly mode: "flock" | "none"; release(): Promise<void> };

/** How long we waited, and for whom at last. */
export interface Wait {
  readonly waitedMs: number;
  readonly holder: HolderStatus | undefined;
}

/** Waits until the result is there or it is our turn to make it; the caller must release its turn. */
export async function takeTurn<T>(options: SingleFlightOptions<T>): Promise<Flight<T>> {
  const { lockPath, activity, signal, log, find } = options;
  const begun = performance.now();
  let holder: HolderStatus | undefined;
  const wait = (): Wait => ({ waitedMs: performance.now() - begun, holder });
  const patience = new Patience(options);
  for (let pollMs = FIRST_POLL_MS;; pollMs = Math.min(LAST_POLL_MS, pollMs * 1.5)) {
    signal.throwIfAborted();
    const value = await find();
    if (value !== undefined) return { kind: "found", value, wait: wait() };
    const got: LockTry = await tryLock(lockPath);
    if (got.kind === "refused") {
      log.warn("the lock is refused, going on without: an import may be done twice", {
        lock: lockPath,
        errno: got.errno,
      });
      activity.note = undefined;
      return { kind: "mine", wait: wait(), mode: "none", release: () => Promise.resolve() };
    }
    if (got.kind === "held") return await heldTurn(options, got.lock, wait());
    const seen = await patience.look();
    holder = seen.status ?? holder;
    if (activity.phase !== "wait") activity.begin("wait");
    activity.note = `waiting ${formatDuration(performance.now() - begun)} for ${seen.who}`;
    // Jitter, so that thirty waiters do not knock at the same moment.
    await sleep(pollMs * (0.5 + Math.random()), signal);
  }
}

async function heldTurn<T>(
  options: SingleFlightOptions<T>,
  lock: Disposable,
  wait: Wait,
): Promise<Flight<T>> {
  const { find, statusPath, identity, activity, log } = options;
  try {
    // Somebody may have finished between our last look and our lock.
    const value = await find();
    if (value !== undefined) {
      lock[Symbol.dispose]();
      return { kind: "found", value, wait };
    }
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
  activity.note = undefined;
  const beat = new HolderBeat(statusPath, identity, { activity, log });
  return {
    kind: "mine",
    wait,
    mode: "flock",
    async release() {
      await beat[Symbol.asyncDispose]();
      lock[Symbol.dispose]();
    },
  };
}

/** Measures standstill by this process's own monotonic clock: clocks of two hosts are never compared. */
class Patience<T> {
  readonly #options: SingleFlightOptions<T>;
  readonly #begun = performance.now();
  #progress: string | undefined;
  #movedAt = performance.now();

  constructor(options: SingleFlightOptions<T>) {
    this.#options = options;
  }

  /** Looks at the holder; throws when it has stood still, or we have waited, for too long. */
  async look(): Promise<{ status: HolderStatus | undefined; who: string }> {
    const { statusPath, lockPath, foreignProgress, lockTimeoutMs, maxWaitMs, identity } = this.#options;
    const status = await readHolderStatus(statusPath);
    const owner = await lockOwner(lockPath);
    const now = performance.now();
    const progress = `${progressOf(status)}|${owner}|${await foreignProgress()}`;
    if (progress !== this.#progress) this.#movedAt = now;
    this.#progress = progress;
    // A status file of another process than the lock's owner was left by a dead holder.
    const isOwners = status !== undefined &&
      (owner === undefined || status.host !== identity.host || status.pid === owner);
    const who = isOwners
      ? describeHolder(status)
      : owner === undefined
      ? `the holder of ${lockPath}`
      : `pid ${owner} on ${identity.host}`;
    const still = now - this.#movedAt;
    if (still > lockTimeoutMs) {
      throw timeout(lockPath, `${who} has made no progress for ${formatDuration(still)}`, "--lock-timeout");
    }
    if (maxWaitMs !== undefined && now - this.#begun > maxWaitMs) {
      throw timeout(
        lockPath,
        `${who} still holds it after ${formatDuration(now - this.#begun)}`,
        "--max-wait",
      );
    }
    return { status: isOwners ? status : undefined, who };
  }
}

function timeout(lockPath: string, state: string, flag: string): Failure {
  return new Failure("TEMPFAIL", `Cannot get the lock "${lockPath}": ${state}`, {
    code: "lock_timeout",
    hint: `wait longer with ${flag}, or take a copy of your own with --on-lock-timeout private`,
  });
}
