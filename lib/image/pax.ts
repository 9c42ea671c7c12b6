/**
 * The records of PAX extended headers: `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record with itself.
 * POSIX.1-2017, pax, "pax Extended Header". Keys and values are binary strings (lib/image/byte_strings.ts).
 *
 * @module
 */
import { binaryOf, bytesOf } from "./byte_strings.ts";

/** One key and its value; a key may come several times (GNU sparse 0.0 does that). */
export type PaxRecord = readonly [key: string, value: string];

const NEWLINE = 0x0a;
const SPACE = 0x20;
const EQUALS = 0x3d;

/** All records of one header's content, in order. Throws SyntaxError with the byte at which it goes wrong. */
export function parsePax(bytes: Uint8Array): PaxRecord[] {
  const records: PaxRecord[] = [];
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(SPACE, at);
    const digits = space < 0 ? "" : binaryOf(bytes, at, Math.min(space, at + 12));
    const end = at + Number(digits);
    const equals = bytes.indexOf(EQUALS, space);
    if (
      !/^[1-9][0-9]{0,9}$/.test(digits) || end > bytes.length || equals < 0 || equals >= end - 1 ||
      equals === space + 1 || bytes[end - 1] !== NEWLINE
    ) {
      // GNU tar and others pad with NULs when they leave a record out.
      if (bytes.subarray(at).every((byte) => byte === 0)) break;
      throw new SyntaxError(`malformed PAX record at byte ${at} of the header`);
    }
    records.push([binaryOf(bytes, space + 1, equals), binaryOf(bytes, equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** The content of an extended header with `records`. */
export function formatPax(records: Iterable<PaxRecord>): Uint8Array {
  let text = "";
  for (const [key, value] of records) {
    const rest = key.length + value.length + 3; // space, equals sign, newline
    let length = rest + String(rest).length;
    // The length may itself become one digit longer: 99 + 2 digits is 101, which has 3.
    if (String(length).length > String(rest).length) length = rest + String(length).length;
    text += `${length} ${key}=${value}\n`;
  }
  return bytesOf(text);
}

/** A decimal number of a map or a PAX record. Throws SyntaxError on anything else. */
export function decimal(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(number)) {
    throw new SyntaxError("a malformed number");
  }
  return number;
}

/** A record that is a number, or undefined when it is absent. Throws SyntaxError when it is no number. */
export function numberOf(pax: ReadonlyMap<string, string> | undefined, key: string): number | undefined {
  const text = pax?.get(key);
  return text === undefined ? undefined : decimal(text);
}

/** The mtime in seconds with its fraction, or undefined. Throws SyntaxError when it is malformed. */
export function timeOf(pax: ReadonlyMap<string, string> | undefined): number | undefined {
  const text = pax?.get("mtime");
  if (text === undefined) return undefined;
  if (!/^-?[0-9]{1,20}(\.[0-9]*)?$/.test(text)) throw new SyntaxError("a malformed time");
  return Number(text);
}

/** Extended attributes, as star and GNU tar write them; undefined when there are none. */
export function xattrsOf(pax: ReadonlyMap<string, string>): Map<string, string> | undefined {
  let xattrs: Map<string, string> | undefined;
  for (const [key, value] of pax) {
    if (key.startsWith("SCHILY.xattr.")) (xattrs ??= new Map()).set(key.slice("SCHILY.xattr.".length), value);
  }
  return xattrs;
}
