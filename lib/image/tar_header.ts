/**
 * The 512-byte header block of a tar archive: numbers, strings and checksum, as ustar, GNU tar, star and V7
 * write them. POSIX.1-2017 pax ("ustar Interchange Format") and the GNU tar manual, appendix D.
 *
 * @module
 */
import { binaryOf } from "./byte_strings.ts";

/** Bytes of a header, and of the blocks to which data is padded. */
export const BLOCK_BYTES = 512;

const SPACE = 0x20;

/** A header's fields, not yet overridden by extended headers. Strings are binary strings. */
export interface RawHeader {
  readonly type: string;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly mtimeSeconds: number;
  readonly major: number;
  readonly minor: number;
}

/** Whether a block is all zeros, as at an archive's end. */
export function isZeroBlock(block: Uint8Array): boolean {
  for (let index = 0; index < BLOCK_BYTES; index++) if (block[index] !== 0) return false;
  return true;
}

/** Reads one header block. Throws SyntaxError when its checksum or a number is wrong. */
export function parseHeader(block: Uint8Array): RawHeader {
  verifyChecksum(block);
  const magic = binaryOf(block, 257, 265);
  const posix = magic.startsWith("ustar\0");
  const name = stringAt(block, 0, 100);
  // GNU keeps other things where POSIX has the prefix; star ends with "tar" and has a shorter one.
  const prefix = posix ? stringAt(block, 345, binaryOf(block, 508, 512) === "tar\0" ? 131 : 155) : "";
  const type = String.fromCharCode(block[156]!);
  const isDevice = type === "3" || type === "4";
  return {
    type,
    name: prefix === "" ? name : `${prefix}/${name}`,
    linkName: stringAt(block, 157, 100),
    mode: numberAt(block, 100, 8),
    uid: numberAt(block, 108, 8),
    gid: numberAt(block, 116, 8),
    sizeBytes: numberAt(block, 124, 12),
    mtimeSeconds: numberAt(block, 136, 12),
    major: isDevice ? numberAt(block, 329, 8) : 0,
    minor: isDevice ? numberAt(block, 337, 8) : 0,
  };
}

function verifyChecksum(block: Uint8Array): void {
  let unsigned = 8 * SPACE;
  let high = 0;
  for (let index = 0; index < BLOCK_BYTES; index++) {
    if (index === 148) index = 156; // the checksum counts as spaces
    const byte = block[index]!;
    unsigned += byte;
    if (byte > 127) high++;
  }
  const stated = numberAt(block, 148, 8);
  // Some old archivers summed signed bytes.
  if (stated !== unsigned && stated !== unsigned - 256 * high) {
    throw new SyntaxError(`a tar header whose checksum is ${stated}, computed ${unsigned}`);
  }
}

function stringAt(block: Uint8Array, start: number, length: number): string {
  let end = start;
  while (end < start + length && block[end] !== 0) end++;
  return binaryOf(block, start, end);
}

/** An octal or base-256 number; an empty field is 0. Throws SyntaxError on anything else. */
export function numberAt(block: Uint8Array, start: number, length: number): number {
  const first = block[start]!;
  if (first & 0x80) {
    // Two's complement, big-endian, the top bit only a mark; 0xff begins a negative number.
    let value = first & 0x40 ? (first & 0x7f) - 0x80 : first & 0x7f;
    for (let index = start + 1; index < start + length; index++) value = value * 256 + block[index]!;
    if (!Number.isSafeInteger(value)) throw new SyntaxError("a number in a tar header that is too large");
    return value;
  }
  let at = start;
  const end = start + length;
  while (at < end && block[at] === SPACE) at++;
  let value = 0;
  for (; at < end; at++) {
    const digit = block[at]! - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  if (at < end && block[at] !== 0 && block[at] !== SPACE) {
    throw new SyntaxError("a malformed number in a tar header");
  }
  return value;
}
