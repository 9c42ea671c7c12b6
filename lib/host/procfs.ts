/**
 * Reads files of /proc and /sys again and again: each is kept open and read from its start into one shared buffer,
 * which costs 3 to 10 µs where opening anew costs 13 to 26 (Deno 2.9.6). And the few parsers that belong to no
 * controller: proc_meminfo(5), proc_stat(5), proc_loadavg(5).
 *
 * @module
 */
import { errnoOf } from "./errno.ts";

/** A file that grew beyond this is none of the kernel's tables. */
const LIMIT_BYTES = 4 << 20;
/** The kernel hands out tables in pieces of at most a page (seq_file.c), small files in one. */
const PAGE_BYTES = 4096;

// Every read ends with the text decoded, before another may begin: one buffer serves all files.
let buffer = new Uint8Array(16 * 1024);
const decoder = new TextDecoder();

/** A file of procfs, sysfs or cgroupfs that stays open between readings. */
export class KeptFile implements Disposable {
  readonly path: string;
  /** Why the last reading gave nothing: an errno name, or the error's text where it has none. */
  failure: string | undefined;
  #file: Deno.FsFile | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** The first page: all of a small file, the head of a large one. Undefined when it fails; see `failure`. */
  readHead(): string | undefined {
    return this.#tryTwice((file) => file.readSync(buffer.subarray(0, PAGE_BYTES)) ?? 0);
  }

  /** All of it, whatever its size up to 4 MiB. Undefined when it fails; see `failure`. */
  readAll(): string | undefined {
    return this.#tryTwice(readToEnd);
  }

  /** A kept descriptor of a process or cgroup that ended fails with ESRCH or ENODEV; its name may have a successor. */
  #tryTwice(fill: (file: Deno.FsFile) => number): string | undefined {
    const wasOpen = this.#file !== undefined;
    return this.#read(fill) ?? (wasOpen ? this.#read(fill) : undefined);
  }

  #read(fill: (file: Deno.FsFile) => number): string | undefined {
    try {
      if (this.#file === undefined) this.#file = Deno.openSync(this.path);
      else this.#file.seekSync(0, Deno.SeekMode.Start);
      const length = fill(this.#file);
      this.failure = undefined;
      return decoder.decode(buffer.subarray(0, length));
    } catch (error) {
      this.failure = errnoOf(error) ?? String(error);
      this[Symbol.dispose]();
      return undefined;
    }
  }

  /** Closes it; the next reading opens it anew. */
  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

function readToEnd(file: Deno.FsFile): number {
  for (let length = 0;;) {
    if (length === buffer.length) {
      if (length >= LIMIT_BYTES) throw new Error(`EFBIG: more than ${LIMIT_BYTES} bytes`);
      const larger = new Uint8Array(length * 2);
      larger.set(buffer);
      buffer = larger;
    }
    const count = file.readSync(buffer.subarray(length));
    if (count === null || count === 0) return length;
    length += count;
  }
}

/**
 * A counter of the kernel: a number while that is exact, else a bigint. Counters of bytes pass 2^53 within days on
 * fast networks.
 */
export type Counter = number | bigint;

/** The counter that begins at `at` in `text`; undefined when there is no digit. */
export function counterAt(text: string, at: number): Counter | undefined {
  let end = at;
  while (isDigit(text.charCodeAt(end))) end++;
  if (end === at) return undefined;
  const digits = text.slice(at, end);
  return digits.length <= 15 ? Number(digits) : BigInt(digits);
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/** How far a counter went from `before` to `after`; undefined when it went back, as one that began anew does. */
export function counterDelta(before: Counter, after: Counter): number | undefined {
  if (after < before) return undefined;
  return typeof before === "number" && typeof after === "number"
    ? after - before
    : Number(BigInt(after) - BigInt(before));
}

const NEWLINE = 10;

/** The counter in the line `key value` or `key: value` of a flat table (memory.events, cpu.stat, vmstat, meminfo). */
export function keyedCounter(text: string, key: string): Counter | undefined {
  for (let at = text.indexOf(key); at >= 0; at = text.indexOf(key, at + key.length)) {
    if (at > 0 && text.charCodeAt(at - 1) !== NEWLINE) continue;
    let end = at + key.length;
    if (!isSeparator(text.charCodeAt(end))) continue; // "file" is also how "file_mapped" begins
    while (isSeparator(text.charCodeAt(end))) end++;
    return counterAt(text, end);
  }
  return undefined;
}

function isSeparator(code: number): boolean {
  return code === 32 || code === 58 || code === 9;
}

/** Like {@linkcode keyedCounter}, for values that are exact as numbers on any machine (kB, counts of events). */
export function keyedNumber(text: string, key: string): number | undefined {
  const value = keyedCounter(text, key);
  return value === undefined ? undefined : Number(value);
}

/** CPU time of all CPUs since boot in clock ticks (proc_stat(5)). */
export interface CpuTicks {
  readonly total: number;
  readonly idle: number;
  readonly steal: number;
}

/** The first line of /proc/stat. */
export function parseCpuTicks(text: string): CpuTicks | undefined {
  if (!text.startsWith("cpu ")) return undefined;
  const end = text.indexOf("\n");
  const columns = text.slice(4, end < 0 ? undefined : end).trim().split(" ").map(Number);
  const [user, nice, system, idle, ioWait = 0, irq = 0, softIrq = 0, steal = 0] = columns;
  if (columns.length < 4 || columns.some(Number.isNaN)) return undefined;
  // Time of guests, columns 9 and 10, is in user and nice already.
  const total = user! + nice! + system! + idle! + ioWait + irq + softIrq + steal;
  return { total, idle: idle! + ioWait, steal };
}

/** /proc/loadavg: the three averages and how many tasks the machine has. */
export interface Load {
  readonly load1: number;
  readonly load5: number;
  readonly load15: number;
  readonly tasks: number;
}

const LOAD_REGEXP = /^([\d.]+) ([\d.]+) ([\d.]+) \d+\/(\d+)/;

/** Reads /proc/loadavg's text. */
export function parseLoad(text: string): Load | undefined {
  const match = LOAD_REGEXP.exec(text);
  if (match === null) return undefined;
  return {
    load1: Number(match[1]),
    load5: Number(match[2]),
    load15: Number(match[3]),
    tasks: Number(match[4]),
  };
}
