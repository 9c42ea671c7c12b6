/**
 * Finds the few lines of a log that matter among gigabytes that do not, in bounded memory. A chunk is decoded as
 * Latin-1, where one byte is one character, so that V8's own search finds the needles and its offsets are those of
 * the bytes; only a line that is wanted is then decoded as UTF-8, into a string of its own (a slice would keep its
 * whole chunk alive).
 *
 * @module
 */

/** A line, or the part of a giant line that lies around a needle. */
export interface ScannedLine {
  readonly text: string;
  /** False for the last line of a log that does not end in a newline: its end may be missing. */
  readonly isTerminated: boolean;
  /** Where the needle is in `text`, when this is only what lies around it in a giant line. */
  readonly windowHit?: number;
}

/** What to look for, and whom to tell. */
export interface ScanOptions {
  /** A line that has none of them is passed over; ASCII. */
  readonly needles: readonly string[];
  /** Returns true to be given the next line too, whatever it holds. */
  readonly visit: (line: ScannedLine) => boolean;
  /** The first and the last line of each chunk: where the log begins and ends in time. */
  readonly edge: (text: string) => void;
}

/** A line without an end in sight is looked at in windows. */
const GIANT_BYTES = 1 << 18;
/** A transport's timestamp and tuist's own. */
const WINDOW_BEFORE_BYTES = 256;
/** A line of ours, even if every character of it were escaped once more. */
const WINDOW_AFTER_BYTES = 1 << 13;
const EDGE_BYTES = 4096;
const latin1 = new TextDecoder("latin1");
const utf8 = new TextDecoder();

/** Takes a log in chunks; call `end()` after the last. Ring files pad with NUL, which ends a line like a newline. */
export class Scanner {
  #carry: Uint8Array = new Uint8Array(0);
  /** How much of the carry was looked at: the front of a giant line. */
  #seen = 0;
  #wantsNext = false;
  readonly #options: ScanOptions;

  constructor(options: ScanOptions) {
    this.#options = options;
  }

  push(chunk: Uint8Array): void {
    this.#scan(this.#carry.length === 0 ? chunk : joined(this.#carry, chunk), false);
  }

  end(): void {
    this.#scan(this.#carry, true);
  }

  #scan(bytes: Uint8Array, isLast: boolean): void {
    const text = latin1.decode(bytes);
    const limit = isLast ? text.length : 1 + Math.max(text.lastIndexOf("\n"), text.lastIndexOf("\0"));
    let position = 0;
    if (limit > 0) {
      if (this.#seen > 0) position = this.#finishGiant(bytes, text);
      this.#scanLines(bytes, text, position, limit);
    }
    const rest = limit > 0 ? bytes.subarray(limit) : bytes;
    this.#carry = isLast ? new Uint8Array(0) : this.#scanGiant(rest);
  }

  #scanLines(bytes: Uint8Array, text: string, from: number, limit: number): void {
    const finder = new Finder(text, this.#options.needles);
    const ends = new LineEnds(text);
    if (from === 0) this.#edge(bytes, 0, ends.after(0, limit));
    for (let position = from; position < limit;) {
      const hit = this.#wantsNext ? position : finder.next(position, limit);
      if (hit === -1) break;
      const start = ends.before(hit, position);
      const end = ends.after(hit, limit);
      position = end + 1;
      if (end === start) continue; // padding of a ring file
      if (end - start > GIANT_BYTES) {
        this.#visitHits(bytes.subarray(start, end), text.slice(start, end), 0, end - start);
        this.#wantsNext = false;
        continue;
      }
      this.#wantsNext = this.#options.visit({
        text: utf8.decode(bytes.subarray(start, end)),
        isTerminated: end < text.length,
      });
    }
    const lastEnd = limit - (ends.isAt(limit - 1) ? 1 : 0);
    const lastStart = ends.before(lastEnd, 0);
    if (lastStart > 0) this.#edge(bytes, lastStart, lastEnd);
  }

  #edge(bytes: Uint8Array, start: number, end: number): void {
    if (end > start) {
      this.#options.edge(utf8.decode(bytes.subarray(start, Math.min(end, start + EDGE_BYTES))));
    }
  }

  /** What is kept of an unfinished line: all of it while it is small, else the windows' reach. */
  #scanGiant(rest: Uint8Array): Uint8Array {
    if (rest.length <= GIANT_BYTES) {
      this.#seen = 0;
      return rest.slice();
    }
    const text = latin1.decode(rest);
    const upTo = rest.length - WINDOW_AFTER_BYTES;
    this.#visitHits(rest, text, this.#seen, upTo);
    const keptFrom = upTo - WINDOW_BEFORE_BYTES;
    this.#seen = WINDOW_BEFORE_BYTES;
    return rest.slice(keptFrom);
  }

  /** The end of a giant line whose front is gone; returns where the next line begins. */
  #finishGiant(bytes: Uint8Array, text: string): number {
    const end = new LineEnds(text).after(0, text.length);
    this.#visitHits(bytes.subarray(0, end), text.slice(0, end), this.#seen, end);
    this.#seen = 0;
    return Math.min(end + 1, text.length);
  }

  /** Gives the windows around the needles that begin between two offsets of one line. */
  #visitHits(bytes: Uint8Array, text: string, from: number, to: number): void {
    const finder = new Finder(text, this.#options.needles);
    for (let position = from; position < to;) {
      const hit = finder.next(position, to);
      if (hit === -1) return;
      const before = utf8.decode(bytes.subarray(Math.max(0, hit - WINDOW_BEFORE_BYTES), hit));
      const after = utf8.decode(bytes.subarray(hit, hit + WINDOW_AFTER_BYTES));
      this.#options.visit({ text: before + after, isTerminated: true, windowHit: before.length });
      position = hit + 1;
    }
  }
}

/** Remembers where each needle comes next: one that is rare must not be searched anew after each common one. */
class Finder {
  readonly #text: string;
  readonly #needles: readonly string[];
  readonly #next: number[];

  constructor(text: string, needles: readonly string[]) {
    this.#text = text;
    this.#needles = needles;
    this.#next = needles.map(() => -1);
  }

  /** The first place of any needle in `[from, to)`, or -1. */
  next(from: number, to: number): number {
    let best = -1;
    for (const [index, needle] of this.#needles.entries()) {
      if (this.#next[index]! < from) {
        const at = this.#text.indexOf(needle, from);
        this.#next[index] = at === -1 ? Infinity : at;
      }
      const at = this.#next[index]!;
      if (at < to && (best === -1 || at < best)) best = at;
    }
    return best;
  }
}

function joined(front: Uint8Array, back: Uint8Array): Uint8Array {
  const whole = new Uint8Array(front.length + back.length);
  whole.set(front);
  whole.set(back, front.length);
  return whole;
}

/** Where lines end: at a newline, and at a NUL where there are any. */
class LineEnds {
  readonly #text: string;
  readonly #hasNul: boolean;

  constructor(text: string) {
    this.#text = text;
    this.#hasNul = text.includes("\0");
  }

  isAt(at: number): boolean {
    const code = this.#text.charCodeAt(at);
    return code === 10 || code === 0;
  }

  /** The start of the line that `at` is in, not before `floor`. */
  before(at: number, floor: number): number {
    if (at <= floor) return floor;
    const newline = this.#text.lastIndexOf("\n", at - 1);
    const nul = this.#hasNul ? this.#text.lastIndexOf("\0", at - 1) : -1;
    return Math.max(floor, newline + 1, nul + 1);
  }

  /** The end of the line that `at` is in, or `limit`. */
  after(at: number, limit: number): number {
    const newline = this.#text.indexOf("\n", at);
    const nul = this.#hasNul ? this.#text.indexOf("\0", at) : -1;
    return Math.min(limit, newline === -1 ? limit : newline, nul === -1 ? limit : nul);
  }
}
