/**
 * Writes the tar stream that sqfstar reads: ustar headers, PAX records only where ustar has no room. Shaped by
 * what squashfs-tools 4.5.1 accepts (tar.c): times, sizes and owners go into the header (base-256 when large; a
 * PAX mtime without a fraction is refused there), no user or group names (it would look them up on this machine),
 * no "." component.
 *
 * @module
 */
import { bytesOf } from "./byte_strings.ts";
import { formatPax, type PaxRecord } from "./pax.ts";
import { alignedMap, formatMap, type Stretch } from "./sparse.ts";
import { BLOCK_BYTES } from "./tar_header.ts";

/** Where the bytes go; each buffer may be reused once the promise is settled. */
export type Sink = (bytes: Uint8Array<ArrayBuffer>) => Promise<void>;

/** One entry to write; strings are binary strings, names relative to the root. */
export interface OutputEntry {
  readonly type: "file" | "directory" | "symlink" | "hardlink" | "char" | "block" | "fifo";
  readonly name: string;
  readonly linkName?: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly sizeBytes?: number;
  readonly major?: number;
  readonly minor?: number;
  /** Names and values in turn. */
  readonly xattrs?: readonly string[] | undefined;
}

const TYPE_FLAGS = { file: 0, hardlink: 1, symlink: 2, char: 3, block: 4, directory: 5, fifo: 6 } as const;
const ZERO = 0x30;
const BUFFER_BYTES = 1 << 20;
const ZEROS = new Uint8Array(64 << 10);

/** Collects entries in buffers of 256 KiB, one of which is filled while the other is being written. */
export class TarWriter {
  readonly #sink: Sink;
  #buffer = new Uint8Array(BUFFER_BYTES);
  #spare = new Uint8Array(BUFFER_BYTES);
  #used = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Writes a header with what precedes it. A file's data must follow, then {@linkcode endData}. */
  async header(entry: OutputEntry, records: PaxRecord[] = []): Promise<void> {
    const long: PaxRecord[] = records;
    if (entry.name.length > 100) long.push(["path", entry.name]);
    if (entry.linkName !== undefined && entry.linkName.length > 100) {
      // Not as a PAX linkpath: sqfstar 4.5.1 takes leading "/", "./" and "../" off one.
      await this.#extended("K", bytesOf(`${entry.linkName}\0`));
    }
    const xattrs = entry.xattrs ?? [];
    for (let index = 0; index < xattrs.length; index += 2) {
      long.push([`SCHILY.xattr.${xattrs[index]}`, xattrs[index + 1]!]);
    }
    if (long.length > 0) await this.#extended("x", formatPax(long));
    await this.write(block(entry));
  }

  /** Writes a sparse file, `data` being the bytes of its `map` in order, without its holes. */
  async sparseFile(
    entry: OutputEntry,
    map: readonly Stretch[],
    realSizeBytes: number,
    data: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const aligned = alignedMap(map, realSizeBytes);
    const prefix = formatMap(aligned);
    const sizeBytes = aligned.reduce((sum, stretch) => sum + stretch.sizeBytes, prefix.length);
    await this.header({ ...entry, sizeBytes }, [
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.name", entry.name],
      ["GNU.sparse.realsize", String(realSizeBytes)],
    ]);
    await this.write(prefix);
    await this.#filled(map, aligned, data);
    await this.endData(sizeBytes);
  }

  /** Writes a sparse file's data with its holes as zeros; the caller writes the header. */
  async expanded(
    map: readonly Stretch[],
    realSizeBytes: number,
    data: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    await this.#filled(map, [{ offset: 0, sizeBytes: realSizeBytes }], data);
  }

  /** Writes bytes as they are. */
  async write(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length) {
      const step = Math.min(bytes.length - at, BUFFER_BYTES - this.#used);
      this.#buffer.set(at === 0 && step === bytes.length ? bytes : bytes.subarray(at, at + step), this.#used);
      this.#used += step;
      at += step;
      if (this.#used === BUFFER_BYTES) await this.#flush();
    }
  }

  /** Pads data of `sizeBytes` to whole blocks. */
  async endData(sizeBytes: number): Promise<void> {
    await this.#zeros((BLOCK_BYTES - sizeBytes % BLOCK_BYTES) % BLOCK_BYTES);
  }

  /** Ends the archive and waits until all of it is written. */
  async finish(): Promise<void> {
    await this.#zeros(2 * BLOCK_BYTES);
    await this.#flush();
    await this.#writing;
  }

  async #extended(typeFlag: "x" | "K", content: Uint8Array): Promise<void> {
    const name = typeFlag === "x" ? "PaxHeader" : "././@LongLink";
    const sizeBytes = content.length;
    await this.write(
      block({ type: "file", name, mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 0, sizeBytes }, typeFlag),
    );
    await this.write(content);
    await this.endData(sizeBytes);
  }

  async #zeros(count: number): Promise<void> {
    for (let left = count; left > 0; left -= ZEROS.length) {
      await this.write(left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS);
    }
  }

  /** Writes the bytes of `stretches`: `data` where `map` has it, zeros elsewhere. */
  async #filled(
    map: readonly Stretch[],
    stretches: readonly Stretch[],
    data: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const pieces = data[Symbol.asyncIterator]();
    let piece: Uint8Array = ZEROS.subarray(0, 0);
    let index = 0;
    let used = 0; // of map[index]
    for (const { offset, sizeBytes } of stretches) {
      let at = offset;
      const end = offset + sizeBytes;
      while (at < end) {
        const stored = map[index];
        if (stored && used === stored.sizeBytes) {
          index++;
          used = 0;
        } else if (!stored || stored.offset + used > at) {
          const next = Math.min(stored ? stored.offset : end, end);
          await this.#zeros(next - at);
          at = next;
        } else {
          if (piece.length === 0) piece = (await pieces.next()).value ?? ZEROS;
          const step = Math.min(piece.length, stored.sizeBytes - used);
          await this.write(piece.subarray(0, step));
          piece = piece.subarray(step);
          used += step;
          at += step;
        }
      }
    }
  }

  async #flush(): Promise<void> {
    await this.#writing;
    const full = this.#buffer.subarray(0, this.#used);
    this.#buffer = this.#spare;
    this.#spare = new Uint8Array(full.buffer);
    this.#used = 0;
    this.#writing = this.#sink(full);
    // Whoever waits next sees the error; until then it must not count as unhandled.
    this.#writing.catch(() => {});
  }
}

function block(entry: OutputEntry, typeFlag?: string): Uint8Array {
  const bytes = new Uint8Array(BLOCK_BYTES);
  putString(bytes, 0, entry.name.slice(0, 100));
  putNumber(bytes, 100, 8, entry.mode);
  putNumber(bytes, 108, 8, entry.uid);
  putNumber(bytes, 116, 8, entry.gid);
  putNumber(bytes, 124, 12, entry.sizeBytes ?? 0);
  putNumber(bytes, 136, 12, entry.mtimeSeconds);
  bytes[156] = typeFlag?.charCodeAt(0) ?? ZERO + TYPE_FLAGS[entry.type];
  if (entry.linkName !== undefined) putString(bytes, 157, entry.linkName.slice(0, 100));
  putString(bytes, 257, "ustar\x0000");
  if (entry.type === "char" || entry.type === "block") {
    putNumber(bytes, 329, 8, entry.major ?? 0);
    putNumber(bytes, 337, 8, entry.minor ?? 0);
  }
  let sum = 8 * 0x20;
  for (const byte of bytes) sum += byte;
  putNumber(bytes, 148, 7, sum);
  bytes[155] = 0x20;
  return bytes;
}

function putString(bytes: Uint8Array, at: number, binary: string): void {
  for (let index = 0; index < binary.length; index++) bytes[at + index] = binary.charCodeAt(index);
}

/** Octal with a NUL at the end, or base-256 when there are not digits enough. */
function putNumber(bytes: Uint8Array, at: number, length: number, value: number): void {
  const fits = value < 8 ** (length - 1);
  let rest = value;
  for (let index = at + length - (fits ? 2 : 1); index >= at; index--) {
    bytes[index] = fits ? ZERO + rest % 8 : rest % 256;
    rest = Math.floor(rest / (fits ? 8 : 256));
  }
  if (!fits) bytes[at]! |= 0x80;
}
