/**
 * The little of tar that `cp` of a container runtime needs: archives of a few small files, and the first file of one.
 * ustar by POSIX.1-2017, pax(1).
 *
 * @module
 */

const BLOCK = 512;

/** A file or, with a trailing slash in its name, a directory; owned by root. */
export interface TarFile {
  /** Relative, at most 100 bytes. */
  readonly name: string;
  readonly mode: number;
  readonly data?: string;
}

/** An archive of `files` in this order. */
export function writeTar(files: readonly TarFile[]): Uint8Array<ArrayBuffer> {
  const blocks = files.flatMap(({ name, mode, data = "" }) => {
    const bytes = new TextEncoder().encode(data);
    const padded = new Uint8Array(Math.ceil(bytes.length / BLOCK) * BLOCK);
    padded.set(bytes);
    return [header(name, mode, bytes.length), padded];
  });
  const archive = new Uint8Array(blocks.reduce((sum, { length }) => sum + length, 2 * BLOCK));
  let at = 0;
  for (const block of blocks) {
    archive.set(block, at);
    at += block.length;
  }
  return archive;
}

function header(name: string, mode: number, size: number): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const put = (text: string, at: number) => block.set(new TextEncoder().encode(text), at);
  const octal = (number: number, digits: number) => number.toString(8).padStart(digits, "0");
  put(name, 0);
  put(octal(mode, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(octal(size, 11), 124);
  put(octal(Math.floor(Date.now() / 1000), 11), 136);
  put(" ".repeat(8), 148);
  put(name.endsWith("/") ? "5" : "0", 156);
  put("ustar\0" + "00", 257);
  put(`${octal(block.reduce((sum, byte) => sum + byte, 0), 6)}\0 `, 148);
  return block;
}

/** The text of the first regular file; undefined when there is none, or not all of it. */
export function readFirstFile(archive: Uint8Array): string | undefined {
  for (let at = 0; at + BLOCK <= archive.length;) {
    const block = archive.subarray(at, at + BLOCK);
    if (block.every((byte) => byte === 0)) return undefined;
    const size = parseInt(text(block.subarray(124, 136)), 8);
    const type = String.fromCharCode(block[156]!);
    at += BLOCK;
    if (!Number.isSafeInteger(size) || at + size > archive.length) return undefined;
    if (type === "0" || type === "\0") return text(archive.subarray(at, at + size));
    at += Math.ceil(size / BLOCK) * BLOCK; // a PAX header or a directory
  }
  return undefined;
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
