/**
 * Writes tars for tests, byte by byte as asked, so that what no sane archiver writes can be written too. Shares no
 * code with lib/image, which it is there to test.
 *
 * @module
 */

/** One entry. Strings are binary strings (a character a byte). `data` or `sizeBytes` as for the type. */
export interface TarItem {
  name: string;
  /** Type flag: "0" file, "1" hard link, "2" symlink, "3" char, "4" block, "5" directory, "6" fifo … */
  type?: string;
  link?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  data?: Uint8Array | string;
  major?: number;
  minor?: number;
  xattrs?: Record<string, string>;
  /** Extra PAX records, in front of the others. */
  pax?: [string, string][];
}

/** The bytes of `binary`. */
export function latin1(binary: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}

/** A whole archive; without `end`, the two zero blocks are left out. */
export function makeTar(items: readonly TarItem[], { end = true } = {}): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = items.flatMap(itemBytes);
  if (end) parts.push(new Uint8Array(1024));
  return joined(parts);
}

/** `parts` one after the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function itemBytes(item: TarItem): Uint8Array[] {
  const { name, link = "", xattrs = {}, pax = [] } = item;
  const data = typeof item.data === "string" ? latin1(item.data) : item.data ?? new Uint8Array(0);
  const records = [...pax];
  if (name.length > 100) records.push(["path", name]);
  if (link.length > 100) records.push(["linkpath", link]);
  for (const [key, value] of Object.entries(xattrs)) records.push([`SCHILY.xattr.${key}`, value]);
  const parts: Uint8Array[] = [];
  if (records.length > 0) {
    const content = latin1(records.map(([key, value]) => record(`${key}=${value}\n`)).join(""));
    parts.push(header({ name: "PaxHeaders/x", type: "x" }, content.length), padded(content));
  }
  parts.push(header(item, data.length), padded(data));
  return parts;
}

function record(body: string): string {
  let length = body.length + 2;
  while (`${length} ${body}`.length !== length) length++;
  return `${length} ${body}`;
}

/** One header block, with its checksum. */
export function header(item: TarItem, sizeBytes: number): Uint8Array<ArrayBuffer> {
  const { name, type = "0", link = "", mode = 0o644, uid = 0, gid = 0, mtime = 0, major = 0, minor = 0 } =
    item;
  const block = new Uint8Array(512);
  const put = (at: number, text: string) => block.set(latin1(text), at);
  put(0, name.slice(0, 100));
  put(100, octal(mode, 8));
  put(108, octal(uid, 8));
  put(116, octal(gid, 8));
  put(124, octal(sizeBytes, 12));
  put(136, octal(mtime, 12));
  put(148, "        ");
  put(156, type);
  put(157, link.slice(0, 100));
  put(257, "ustar\x0000");
  put(329, octal(major, 8));
  put(337, octal(minor, 8));
  put(148, octal(block.reduce((sum, byte) => sum + byte, 0), 7));
  return block;
}

function octal(value: number, length: number): string {
  return `${value.toString(8).padStart(length - 1, "0")}\0`;
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.ceil(bytes.length / 512) * 512);
  whole.set(bytes);
  return whole;
}
