/**
 * Kernel log records as /dev/kmsg gives them, one per read (kernel document: Documentation/ABI/testing/dev-kmsg):
 * `<facility*8+level>,<sequence>,<µs>,<flags>[,…];<text>`, followed by ` KEY=value` lines.
 *
 * @module
 */

/** One record of the kernel. */
export interface KmsgRecord {
  /** 0 = emergency … 7 = debug. */
  readonly level: number;
  /** 0 = the kernel. Whatever userspace writes has another, and cannot have this one. */
  readonly facility: number;
  /** One more than that of the record before; a gap is what was lost. */
  readonly seq: number;
  /**
   * Microseconds of the kernel's own clock since boot. It stands still while the machine is suspended and is not
   * corrected by NTP, so it tells the time between two records, and no time of day.
   */
  readonly stampUs: number;
  /** Printable ASCII: all else is written `\x1b`, by the kernel or by {@linkcode decodeKmsg}. */
  readonly text: string;
}

const HEADER_REGEXP = /^(\d{1,6}),(\d{1,16}),(\d{1,16}),[^;]*;/;

/** The record in `text` without its ` KEY=value` lines, or undefined when it is none. */
export function parseKmsgRecord(text: string): KmsgRecord | undefined {
  const match = HEADER_REGEXP.exec(text);
  if (!match) return undefined;
  const priority = Number(match[1]);
  const end = text.indexOf("\n", match[0].length);
  return {
    level: priority & 7,
    facility: priority >> 3,
    seq: Number(match[2]),
    stampUs: Number(match[3]),
    text: text.slice(match[0].length, end < 0 ? undefined : end),
  };
}

/** The records of one read: one from the device, but a FIFO puts together what was written in one go. */
export function splitKmsg(text: string): string[] {
  const last = text.length - 1;
  const isOne = !/\n[^ ]/.test(text);
  if (isOne) return text === "" ? [] : [text];
  return (text[last] === "\n" ? text.slice(0, -1) : text).split(/\n(?! )/);
}

const decoder = new TextDecoder();
const FOREIGN_REGEXP = /[^\x20-\x7e\n]/;

/** The kernel escapes all but printable ASCII; what comes from elsewhere is brought to the same form. */
export function decodeKmsg(bytes: Uint8Array): string {
  const text = decoder.decode(bytes);
  if (!FOREIGN_REGEXP.test(text)) return text;
  return Array.from(bytes, (byte) => {
    if ((byte >= 0x20 && byte < 0x7f) || byte === 0x0a) return String.fromCharCode(byte);
    return `\\x${byte.toString(16).padStart(2, "0")}`;
  }).join("");
}
