/**
 * Follows the kernel log from its oldest record and goes on after everything that ends simpler readers: records
 * overwritten before they were read (EPIPE), records longer than the buffer (EINVAL), a source that goes away.
 *
 * @module
 */
import { decodeKmsg, type KmsgRecord, parseKmsgRecord, splitKmsg } from "./kmsg.ts";
import type { KmsgDevice } from "./kmsg_device.ts";

/** Who is told. None of these may throw. */
export interface KmsgListener {
  /** A record of the kernel; `isOld` when it was there before the log was opened. Userspace's are left out. */
  onRecord(record: KmsgRecord, isOld: boolean): void;
  /** All old records have been given. Called once. */
  onCaughtUp(): void;
  /** So many records were overwritten or could not be read. */
  onLost(count: number): void;
  /** The source fails with this errno (or "EOF") and is tried again. */
  onDown(errno: string): void;
  onUp(): void;
}

/** What has happened so far. */
export interface KmsgCounts {
  records: number;
  /** Records lost, by the gaps in their numbers. */
  lost: number;
  /** EPIPE: reading had fallen behind. */
  overruns: number;
  /** EINVAL: a record did not fit. */
  oversized: number;
  malformed: number;
}

/** Device, listener, and how to open the device again; `reopen` gives undefined while that is not possible. */
export interface FollowOptions {
  readonly device: KmsgDevice;
  readonly listener: KmsgListener;
  readonly reopen: () => KmsgDevice | undefined;
  /** First wait before opening again; it doubles up to a minute. */
  readonly retryMs?: number;
}

/** The kernel's limit of a record is 8 KiB; the rest is for a FIFO, whose writer may be ahead by its 64 KiB. */
const BUFFER_BYTES = 65_536;
const BATCH_RECORDS = 256;
/** Between batches of a flood: 50,000 records a second at most, and the samples in between stay on time. */
const BREATH_MS = 5;
/** A device that only ever refuses is none. */
const REFUSALS_LIMIT = 1_000;
const RETRY_MS = 1_000;
const RETRY_CAP_MS = 60_000;

/** Follows until closed. */
export class KmsgFollower {
  readonly counts: KmsgCounts = { records: 0, lost: 0, overruns: 0, oversized: 0, malformed: 0 };
  readonly #listener: KmsgListener;
  readonly #reopen: FollowOptions["reopen"];
  readonly #retryMs: number;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #closing = Promise.withResolvers<void>();
  readonly #done: Promise<void>;
  #device: KmsgDevice;
  #isClosed = false;
  #nextSeq: number | undefined;
  /** Records from this one on are new; undefined while that is not known. */
  #firstNewSeq: number | undefined;
  #isCaughtUp = false;
  #reportedLost = 0;
  #delayMs: number;

  constructor({ device, listener, reopen, retryMs = RETRY_MS }: FollowOptions) {
    this.#device = device;
    this.#listener = listener;
    this.#reopen = reopen;
    this.#retryMs = retryMs;
    this.#delayMs = retryMs;
    this.#done = this.#follow();
  }

  /** Stops at once; nobody is told anything afterwards. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#device.close();
    this.#closing.resolve();
    await this.#done;
  }

  async #follow(): Promise<void> {
    let emptyWakes = 0;
    while (!this.#isClosed) {
      const before = this.counts.records;
      const outcome = this.#readBatch();
      if (outcome === "more") {
        await this.#pause(BREATH_MS);
      } else if (outcome === "empty") {
        emptyWakes = this.counts.records === before ? emptyWakes + 1 : 0;
        // A device that wakes us for nothing must not make this loop spin.
        if (emptyWakes > 10) await this.#pause(100);
        await this.#device.wait();
      } else {
        await this.#recover(outcome.errno);
      }
    }
  }

  /** Reads up to a batch and hands it on. */
  #readBatch(): "more" | "empty" | { errno: string } {
    const batch: KmsgRecord[] = [];
    let refusals = 0;
    let outcome: "more" | "empty" | { errno: string } = "more";
    while (batch.length < BATCH_RECORDS && outcome === "more") {
      const got = this.#device.read(this.#buffer);
      if (typeof got === "number" && got > 0) {
        refusals = 0;
        this.#take(this.#buffer.subarray(0, got), batch);
      } else if (got === "EAGAIN") {
        outcome = "empty";
      } else if ((got === "EPIPE" || got === "EINVAL" || got === "EINTR") && ++refusals < REFUSALS_LIMIT) {
        if (got === "EPIPE") this.counts.overruns++;
        if (got === "EINVAL") this.counts.oversized++;
      } else {
        outcome = { errno: got === 0 ? "EOF" : String(got) };
      }
    }
    this.#deliver(batch, outcome === "empty");
    return outcome;
  }

  #take(bytes: Uint8Array, batch: KmsgRecord[]): void {
    for (const text of splitKmsg(decodeKmsg(bytes))) {
      const record = parseKmsgRecord(text);
      if (record === undefined) {
        this.counts.malformed++;
        continue;
      }
      // After opening anew the oldest come again.
      if (this.#nextSeq !== undefined && record.seq < this.#nextSeq) continue;
      this.counts.lost += record.seq - (this.#nextSeq ?? record.seq);
      this.#nextSeq = record.seq + 1;
      this.counts.records++;
      this.#delayMs = this.#retryMs;
      if (record.facility === 0) batch.push(record);
    }
  }

  #deliver(batch: readonly KmsgRecord[], isAtEnd: boolean): void {
    if (!this.#isCaughtUp) this.#findBoundary();
    const { lost } = this.counts;
    if (lost > this.#reportedLost) this.#listener.onLost(lost - this.#reportedLost);
    this.#reportedLost = lost;
    for (const record of batch) {
      const isOld = !this.#isCaughtUp && record.seq < (this.#firstNewSeq ?? Infinity);
      if (!isOld) this.#catchUp();
      this.#listener.onRecord(record, isOld);
    }
    if (isAtEnd) this.#catchUp();
  }

  /**
   * The number of the first new record. Stamps cannot tell old from new: the kernel's clock drifts away from
   * every other by minutes in a year, and by the whole length of a suspend.
   */
  #findBoundary(): void {
    if (this.#firstNewSeq !== undefined || this.#device.readNew === undefined) return;
    const scratch = new Uint8Array(BUFFER_BYTES);
    let got = this.#device.readNew(scratch);
    for (let round = 0; round < REFUSALS_LIMIT && (got === "EPIPE" || got === "EINVAL"); round++) {
      got = this.#device.readNew(scratch);
    }
    if (typeof got === "number" && got > 0) {
      this.#firstNewSeq = parseKmsgRecord(decodeKmsg(scratch.subarray(0, got)))?.seq;
    }
  }

  #catchUp(): void {
    if (this.#isCaughtUp) return;
    this.#isCaughtUp = true;
    this.#listener.onCaughtUp();
  }

  async #recover(errno: string): Promise<void> {
    if (this.#isClosed) return;
    this.#device.close();
    this.#catchUp();
    this.#listener.onDown(errno);
    while (!this.#isClosed) {
      await this.#pause(this.#delayMs);
      if (this.#isClosed) return;
      // Back to the first wait only by a record: a source may open well and fail again at once.
      this.#delayMs = Math.min(2 * this.#delayMs, RETRY_CAP_MS);
      const device = this.#reopen();
      if (device === undefined) continue;
      this.#device = device;
      this.#listener.onUp();
      return;
    }
  }

  async #pause(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([new Promise((resolve) => timer = setTimeout(resolve, ms)), this.#closing.promise]);
    clearTimeout(timer);
  }
}
