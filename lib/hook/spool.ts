/**
 * All output of one job in the order of its arrival, until its client has it: numbered frames in files without
 * names. It has a bound. When that is reached the job waits for its client, as it would for a slow pipe; when no client
 * takes anything for a while the oldest output is dropped, counted and said.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";
import { FRAME, FRAME_HEADER_BYTES, type FrameKind } from "./protocol.ts";
import type { NamelessFile } from "./rpc_dir.ts";
import { Segment } from "./segment.ts";

/** How a job's output is kept. */
export interface SpoolOptions {
  readonly maxBytes: number;
  /** A new file, or undefined where none can be had. */
  readonly openFile: () => NamelessFile | undefined;
  /** How long a full spool waits for an acknowledgement before it drops something. */
  readonly patienceMs: number;
  readonly log: Log;
}

const SEGMENT_BYTES = 16 << 20;
/** Without a directory; less than what a server may take at all. */
const MEMORY_MAX_BYTES = 16 << 20;
const MEMORY_SEGMENT_BYTES = 2 << 20;
/** Files that fail at their first frame: after so many it is memory's turn. */
const FILE_TRIES = 3;

/** See the module's description. */
export class Spool {
  readonly #options: SpoolOptions;
  #segments: Segment[] = [];
  #tail: Promise<void> = Promise.resolve();
  #changed = Promise.withResolvers<void>();
  #freed = Promise.withResolvers<void>();
  #ackedSeq = 0;
  #ackedAtMs = performance.now();
  #droppedBytes = 0;
  /** The end frame alone; it is there once the job has ended, and is never forgotten. */
  #end: Segment | undefined;
  #isReleased = false;

  constructor(options: SpoolOptions) {
    this.#options = options;
    this.#addSegment();
  }

  get lastSeq(): number {
    return this.#current.nextSeq - 1;
  }

  /** The oldest frame that can still be read. */
  get firstSeq(): number {
    return this.#segments[0]!.firstSeq;
  }

  get ackedSeq(): number {
    return this.#ackedSeq;
  }

  /** Output that was dropped before anybody acknowledged it. */
  get droppedBytes(): number {
    return this.#droppedBytes;
  }

  get stdoutBytes(): number {
    return this.#current.last.stdoutBytes;
  }

  get stderrBytes(): number {
    return this.#current.last.stderrBytes;
  }

  /** Bytes that it takes now. */
  get bytes(): number {
    return this.#segments.reduce((sum, { end }) => sum + end, 0);
  }

  /** The end frame is in it. */
  get isClosed(): boolean {
    return this.#end !== undefined;
  }

  /** Resolves when there is more to read than when it was asked for. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  get #current(): Segment {
    return this.#segments.at(-1)!;
  }

  /** Where a reader of frames above `from` begins; undefined where they are not kept any more. */
  openAfter(from: number): SpoolReader | undefined {
    if (from + 1 < this.firstSeq) return undefined;
    const segment = this.#segments.findLast(({ firstSeq }) => firstSeq <= from + 1) ?? this.#segments[0]!;
    return new SpoolReader(this, segment, segment.placeAfter(from));
  }

  /**
   * Adds a frame. `frame` is room for the header and the payload after it, and is free again when this resolves.
   * Never rejects: output that can be kept nowhere is counted as dropped.
   */
  append(kind: FrameKind, frame: Uint8Array): Promise<void> {
    return this.#tail = this.#tail.then(() => this.#append(kind, frame));
  }

  /** The same for a text. */
  appendText(kind: FrameKind, text: string): Promise<void> {
    return this.append(kind, frameOf(text));
  }

  /** Frames up to `seq` may be forgotten, all but the end: whoever asks for the job again is to find it. */
  acknowledge(seq: number): void {
    if (!(seq > this.#ackedSeq)) return;
    this.#ackedSeq = Math.min(seq, this.isClosed ? this.lastSeq - 1 : this.lastSeq);
    this.#ackedAtMs = performance.now();
    while (this.#segments.length > 1 && this.#segments[0]!.nextSeq - 1 <= this.#ackedSeq) {
      this.#releaseOldest();
    }
    if (this.isClosed && seq >= this.lastSeq) this.release();
    this.#freed.resolve();
    this.#freed = Promise.withResolvers();
  }

  /** Bytes of one stream from `offset` on, at most `limit`; nothing where they are not kept any more. */
  readStream(
    kind: typeof FRAME.stdout | typeof FRAME.stderr,
    offset: number,
    limit: number,
  ): { bytes: Uint8Array; more: boolean } {
    const name = kind === FRAME.stdout ? "stdoutBytes" : "stderrBytes";
    const total = this[name];
    const oldest = this.#isReleased ? total : this.#segments[0]!.start[name];
    if (offset >= total || offset < oldest) return { bytes: new Uint8Array(), more: offset < total };
    const bytes = new Uint8Array(Math.min(limit, total - offset));
    let filled = 0;
    const first = this.#segments.findLastIndex((segment) => segment.start[name] <= offset);
    for (const segment of this.#segments.slice(Math.max(first, 0))) {
      for (const frame of segment.frames((mark) => mark[name] <= offset)) {
        if (frame.kind !== kind || frame[name] + frame.payloadBytes <= offset + filled) continue;
        const skipped = offset + filled - frame[name];
        const into = bytes.subarray(filled, filled + frame.payloadBytes - skipped);
        filled += segment.read(into, frame.at + FRAME_HEADER_BYTES + skipped);
        if (filled === bytes.length) return { bytes, more: offset + filled < total };
      }
    }
    return { bytes: bytes.subarray(0, filled), more: offset + filled < total };
  }

  /** Adds the last frame; after it nothing comes. */
  async close(text: string): Promise<void> {
    const { stdoutBytes, stderrBytes, seq } = await this.#tail.then(() => this.#current.last);
    const frame = frameOf(text);
    await this.append(FRAME.end, frame);
    const end = new Segment(undefined, { seq, stdoutBytes, stderrBytes });
    end.append(frame, FRAME.end);
    this.#end = end;
    this.#announce();
  }

  /** Forgets all but the end. Only once it is closed. */
  release(): void {
    if (this.#isReleased || this.#end === undefined) return;
    this.#isReleased = true;
    for (const segment of this.#segments) segment.release();
    this.#segments = [this.#end];
    this.#announce();
  }

  async #append(kind: FrameKind, frame: Uint8Array): Promise<void> {
    const isOutput = kind === FRAME.stdout || kind === FRAME.stderr;
    if (isOutput) await this.#makeRoom(frame.length);
    for (let tries = 0;; tries++) {
      if (this.#current.end > 0 && this.#current.end + frame.length > this.#segmentBytes) this.#addSegment();
      const view = new DataView(frame.buffer, frame.byteOffset, FRAME_HEADER_BYTES);
      view.setUint32(0, kind, true);
      view.setUint32(4, frame.length - FRAME_HEADER_BYTES, true);
      view.setBigUint64(8, BigInt(this.#current.nextSeq), true);
      try {
        this.#current.append(frame, kind);
        return this.#announce();
      } catch (error) {
        if (errnoOf(error) === undefined) throw error;
        this.#options.log.warn("cannot write output to its file, taking another", { why: messageOf(error) });
        // A file that was found good and fails all the same may do so for ever.
        this.#addSegment({ inMemory: tries >= FILE_TRIES });
      }
    }
  }

  get #maxBytes(): number {
    const { maxBytes } = this.#options;
    return this.#current.isInMemory ? Math.min(maxBytes, MEMORY_MAX_BYTES) : maxBytes;
  }

  get #segmentBytes(): number {
    const largest = this.#current.isInMemory ? MEMORY_SEGMENT_BYTES : SEGMENT_BYTES;
    return Math.min(largest, Math.ceil(this.#maxBytes / 4));
  }

  async #makeRoom(bytes: number): Promise<void> {
    while (this.bytes + bytes > this.#maxBytes && this.#segments.length > 1) {
      const waitMs = this.#options.patienceMs - (performance.now() - this.#ackedAtMs);
      if (waitMs <= 0) this.#dropOldest();
      else await orLater(this.#freed.promise, waitMs);
    }
  }

  #dropOldest(): void {
    const oldest = this.#segments[0]!;
    for (const { seq, kind, payloadBytes } of oldest.frames((mark) => mark.seq <= this.#ackedSeq + 1)) {
      const isOutput = kind === FRAME.stdout || kind === FRAME.stderr;
      if (seq > this.#ackedSeq && isOutput) this.#droppedBytes += payloadBytes;
    }
    this.#releaseOldest();
  }

  #releaseOldest(): void {
    this.#segments.shift()!.release();
  }

  #addSegment({ inMemory = false } = {}): void {
    const before = this.#segments.at(-1);
    const file = inMemory ? undefined : this.#options.openFile();
    const segment = new Segment(file, before?.last ?? { seq: 1, stdoutBytes: 0, stderrBytes: 0 });
    if (before !== undefined) before.next = segment;
    this.#segments.push(segment);
  }

  #announce(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** A place in a spool that moves on. */
export class SpoolReader {
  readonly #spool: Spool;
  #segment: Segment;
  #at: number;

  constructor(spool: Spool, segment: Segment, at: number) {
    this.#spool = spool;
    this.#segment = segment;
    this.#at = at;
  }

  /** Copies what comes next: bytes, 0 where there is nothing yet, or "end". "gone": it was dropped meanwhile. */
  read(into: Uint8Array): number | "end" | "gone" {
    while (this.#at >= this.#segment.end) {
      if (this.#segment.next === undefined) {
        return this.#spool.isClosed ? "end" : 0;
      }
      this.#segment = this.#segment.next;
      this.#at = 0;
    }
    if (this.#segment.isReleased) return "gone";
    const count = this.#segment.read(into, this.#at);
    this.#at += count;
    return count === 0 ? "gone" : count;
  }
}

function frameOf(text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

async function orLater(promise: Promise<void>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([promise, new Promise<void>((resolve) => timer = setTimeout(resolve, ms))]);
  clearTimeout(timer);
}
