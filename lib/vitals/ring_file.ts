/**
 * A file of fixed size that keeps the newest lines, written so that a process killed at any moment leaves no torn
 * line behind, and read by `davit vitals report` or with `strings FILE`.
 *
 * The format: pages of 4096 bytes. A page begins with `davit-ring P\n`, P a number of 12 digits, and goes on with
 * whole lines; the rest of it is NUL bytes. Pages are used round and round, each time with the next P, so that the
 * lines in their order are those of the pages sorted by P. Page 0 is the first that is ever written.
 *
 * Why: write(2) to a file copies page by page and can be ended by SIGKILL only between two pages. A line that does
 * not cross a page boundary is there whole or not at all. After a power cut the filesystem decides what is left.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";

/** Unit of the file's size. */
export const RING_PAGE_BYTES = 4096;
/** About ten hours of samples at three seconds. */
export const DEFAULT_RING_BYTES = 4 << 20;
/** The least: a ring of one page would lose all of its lines at each turn. */
export const MIN_RING_BYTES = 4 * RING_PAGE_BYTES;

const HEAD_REGEXP = /^davit-ring (\d{12})\n/;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const HEAD_BYTES = headOf(0).length;

/** A page as it was read. */
interface Page {
  readonly number: number;
  readonly lines: string;
}

/** The open file; one process at a time holds it. */
export class RingFile implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #pages: number;
  #number: number;
  #used = RING_PAGE_BYTES;

  private constructor(file: Deno.FsFile, pages: number, nextNumber: number) {
    this.#file = file;
    this.#pages = pages;
    this.#number = nextNumber - 1;
  }

  /**
   * Opens `path`, or makes it with `sizeBytes`, all of them allocated. An existing ring goes on behind its newest
   * line and keeps its size. Throws a Failure where the file is none of ours, in use, or cannot be made.
   */
  static async open(path: string, { sizeBytes = DEFAULT_RING_BYTES } = {}): Promise<RingFile> {
    let file: Deno.FsFile | undefined;
    try {
      file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o644 });
      const { isFile, size } = await file.stat();
      if (!isFile) throw refusal(path, "it is not a regular file");
      if (!await file.tryLock(true)) throw refusal(path, "another process writes to it");
      if (size === 0) {
        const pages = Math.max(MIN_RING_BYTES, sizeBytes) / RING_PAGE_BYTES | 0;
        await allocate(file, pages);
        return new RingFile(file, pages, 0);
      }
      const pages = size / RING_PAGE_BYTES | 0;
      const last = await lastNumber(file, pages);
      if (last === undefined) throw refusal(path, "it holds something else than a ring of davit's");
      return new RingFile(file, pages, last + 1);
    } catch (error) {
      file?.close();
      if (error instanceof Failure || errnoOf(error) === undefined) throw error;
      throw new Failure("CANTCREAT", `Cannot use "${path}" as a ring: ${messageOf(error)}`, {
        code: "ring",
        cause: error,
      });
    }
  }

  /** Writes `line`, which ends with a newline; one that does not fit into a page is cut. */
  async write(line: string): Promise<void> {
    const bytes = fitting(line);
    if (this.#used + bytes.length > RING_PAGE_BYTES) {
      const page = new Uint8Array(RING_PAGE_BYTES);
      page.set(headOf(this.#number + 1));
      page.set(bytes, HEAD_BYTES);
      await this.#writeAt(((this.#number + 1) % this.#pages) * RING_PAGE_BYTES, page);
      this.#number++;
      this.#used = HEAD_BYTES + bytes.length;
      return;
    }
    await this.#writeAt((this.#number % this.#pages) * RING_PAGE_BYTES + this.#used, bytes);
    this.#used += bytes.length;
  }

  /** Has everything written so far on the disk. */
  async sync(): Promise<void> {
    await this.#file.syncData();
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }

  async #writeAt(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#file.seek(offset, Deno.SeekMode.Start);
    // A short write (a full disk under a file with holes) is tried whole again: the same bytes, the same place.
    const count = await this.#file.write(bytes);
    if (count < bytes.length) throw new Error("No space left on device (os error 28)");
  }
}

/** Whether a file that begins with `head` (at least 24 bytes) is a ring. */
export function isRing(head: Uint8Array): boolean {
  return HEAD_REGEXP.test(decoder.decode(head.subarray(0, HEAD_BYTES)));
}

/** The lines of the ring at `path` in the order in which they were written, without newlines; none is torn. */
export async function* readRing(path: string): AsyncGenerator<string> {
  for await (const lines of readRingPages(path)) yield* lines.split("\n").slice(0, -1);
}

/** The same, the whole lines of a page at a time. Of a ring that was cut off somewhere, what is left. */
export async function* readRingPages(path: string): AsyncGenerator<string> {
  using file = await Deno.open(path);
  const pages = Math.ceil((await file.stat()).size / RING_PAGE_BYTES);
  // Numbers first, texts later: a ring may be larger than one would like to hold in memory.
  const numbers: [number: number, index: number][] = [];
  for (let index = 0; index < pages; index++) {
    const page = await readPage(file, index);
    if (page !== undefined) numbers.push([page.number, index]);
  }
  for (const [number, index] of numbers.sort(([a], [b]) => a - b)) {
    const page = await readPage(file, index);
    // Written over meanwhile: its new lines are not due yet, and its old ones are gone.
    if (page?.number !== number) continue;
    yield page.lines.slice(0, page.lines.lastIndexOf("\n") + 1);
  }
}

async function readPage(file: Deno.FsFile, index: number): Promise<Page | undefined> {
  return pageIn(await readBytes(file, index));
}

/** What the file has not is NUL. */
async function readBytes(file: Deno.FsFile, index: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(RING_PAGE_BYTES);
  await file.seek(index * RING_PAGE_BYTES, Deno.SeekMode.Start);
  for (let filled = 0; filled < bytes.length;) {
    const count = await file.read(bytes.subarray(filled));
    if (count === null) break;
    filled += count;
  }
  return bytes;
}

function pageIn(bytes: Uint8Array): Page | undefined {
  const end = bytes.indexOf(0);
  const text = decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
  const match = HEAD_REGEXP.exec(text);
  return match ? { number: Number(match[1]), lines: text.slice(HEAD_BYTES) } : undefined;
}

/**
 * The highest page number; -1 in a ring that was only allocated; undefined in what is none. Every page counts: a
 * disk image may begin with zeros, or hold somebody's ring.
 */
async function lastNumber(file: Deno.FsFile, pages: number): Promise<number | undefined> {
  let last: number | undefined;
  for (let index = 0; index < pages; index++) {
    const bytes = await readBytes(file, index);
    const number = pageIn(bytes)?.number ?? (bytes.every((byte) => byte === 0) ? -1 : undefined);
    if (number === undefined) return undefined;
    last = Math.max(last ?? -1, number);
  }
  return last;
}

/** Zeros, not a hole: a disk that fills up later must not stop the ring. All of them, or the room is given back. */
async function allocate(file: Deno.FsFile, pages: number): Promise<void> {
  const chunk = new Uint8Array(64 * RING_PAGE_BYTES);
  try {
    for (let left = pages * RING_PAGE_BYTES; left > 0;) {
      const count = await file.write(chunk.subarray(0, left));
      if (count === 0) throw new Error("No space left on device (os error 28)");
      left -= count;
    }
  } catch (error) {
    await file.truncate(0);
    throw error;
  }
}

function headOf(number: number): Uint8Array {
  return encoder.encode(`davit-ring ${String(number).padStart(12, "0")}\n`);
}

function fitting(line: string): Uint8Array {
  const room = RING_PAGE_BYTES - HEAD_BYTES;
  const bytes = encoder.encode(line);
  if (bytes.length <= room) return bytes;
  const cut = bytes.subarray(0, room - 1).lastIndexOf(0x20);
  return encoder.encode(`${decoder.decode(bytes.subarray(0, cut < 0 ? room - 1 : cut))}\n`);
}

function refusal(path: string, what: string): Failure {
  return new Failure("CANTCREAT", `Cannot use "${path}" as a ring: ${what}`, { code: "ring" });
}
