/**
 * Maps of sparse files: which stretches of a file the archive stores; the rest are holes. Read in all of GNU
 * tar's forms (old GNU header; PAX 0.0, 0.1 and 1.0), written as PAX 1.0. "GNU tar manual", appendix D.2.
 *
 * @module
 */
import { decimal, type PaxRecord } from "./pax.ts";

/** One stored stretch. */
export interface Stretch {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** The most stretches a map may have: 16 MB of them in memory while the file is copied. */
export const MAX_STRETCHES = 250_000;
const BLOCK = 512;

/** The map of PAX format 0.0 (repeated keys) or 0.1 (one list); undefined when there is none. */
export function mapOfRecords(records: readonly PaxRecord[]): Stretch[] | undefined {
  const list = records.findLast(([key]) => key === "GNU.sparse.map")?.[1];
  const numbers: number[] = [];
  if (list !== undefined) {
    for (const number of list === "" ? [] : list.split(",")) numbers.push(decimal(number));
  } else {
    const keys = ["GNU.sparse.offset", "GNU.sparse.numbytes"];
    for (const [key, value] of records) {
      if (key === keys[numbers.length % 2]) numbers.push(decimal(value));
    }
    if (numbers.length === 0) return undefined;
  }
  return stretchesOf(numbers);
}

/** Pairs up offsets and sizes. Throws SyntaxError when one is missing or there are too many. */
export function stretchesOf(numbers: readonly number[]): Stretch[] {
  if (numbers.length % 2 !== 0) throw new SyntaxError("a sparse map with an offset that has no size");
  if (numbers.length > 2 * MAX_STRETCHES) {
    throw new SyntaxError(
      `a sparse map of ${numbers.length / 2} stretches, ${MAX_STRETCHES} at most are read`,
    );
  }
  const map: Stretch[] = [];
  for (let index = 0; index < numbers.length; index += 2) {
    map.push({ offset: numbers[index]!, sizeBytes: numbers[index + 1]! });
  }
  return map;
}

/** Throws SyntaxError unless `map` ascends without overlap inside the file and stores exactly `storedBytes`. */
export function checkMap(map: readonly Stretch[], realSizeBytes: number, storedBytes: number): void {
  let end = 0;
  let stored = 0;
  for (const { offset, sizeBytes } of map) {
    if (offset < end || offset + sizeBytes > realSizeBytes) {
      throw new SyntaxError("an inconsistent sparse map");
    }
    end = offset + sizeBytes;
    stored += sizeBytes;
  }
  if (stored !== storedBytes) {
    throw new SyntaxError(`a sparse map of ${stored} bytes for ${storedBytes} stored`);
  }
}

/**
 * The map to write for a file whose stored stretches are `map`. sqfstar 4.5.1 (tar.c) rounds every stretch but
 * the first up to a block, reads one entry past the last, and loses step at an unaligned end inside a hole. So:
 * an empty stretch first, every other one aligned to blocks, the odd bytes at the end of the file always stored,
 * and an empty stretch at the end.
 */
export function alignedMap(map: readonly Stretch[], realSizeBytes: number): Stretch[] {
  const aligned: { offset: number; sizeBytes: number }[] = [{ offset: 0, sizeBytes: 0 }];
  const tail = realSizeBytes - realSizeBytes % BLOCK;
  for (const { offset, sizeBytes } of [...map, { offset: tail, sizeBytes: realSizeBytes - tail }]) {
    if (sizeBytes === 0) continue;
    const start = offset - offset % BLOCK;
    const end = Math.min(Math.ceil((offset + sizeBytes) / BLOCK) * BLOCK, realSizeBytes);
    const last = aligned.at(-1)!;
    const lastEnd = last.offset + last.sizeBytes;
    if (aligned.length > 1 && start <= lastEnd) last.sizeBytes = Math.max(lastEnd, end) - last.offset;
    else aligned.push({ offset: start, sizeBytes: end - start });
  }
  aligned.push({ offset: realSizeBytes, sizeBytes: 0 });
  return aligned;
}

/** The text that precedes the data in PAX format 1.0, padded to blocks. */
export function formatMap(map: readonly Stretch[]): Uint8Array {
  const text = `${map.length}\n${map.map(({ offset, sizeBytes }) => `${offset}\n${sizeBytes}\n`).join("")}`;
  const bytes = new Uint8Array(Math.ceil(text.length / BLOCK) * BLOCK);
  new TextEncoder().encodeInto(text, bytes);
  return bytes;
}
