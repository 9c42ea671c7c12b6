/**
 * Reads a tar archive as a stream: entries with their metadata, data on demand. Understands ustar, V7, star, GNU
 * long names, base-256 numbers, PAX (x and g) and every form of sparse file. Follows POSIX.1-2017 pax and the GNU
 * tar manual; where they leave a choice, what Go's archive/tar does, since most layers were written by it.
 *
 * Accepted although sloppy: an archive that ends at a header boundary without its two zero blocks (some writers
 * leave them out; the layer's digest has already told that nothing is missing).
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import { binaryOf, shown } from "./byte_strings.ts";
import { ByteSource, TruncatedStream } from "./byte_source.ts";
import { DamagedLayer, unsafeEntry } from "./layer_failure.ts";
import { decimal, numberOf, parsePax, type PaxRecord, timeOf, xattrsOf } from "./pax.ts";
import { checkMap, mapOfRecords, MAX_STRETCHES, type Stretch, stretchesOf } from "./sparse.ts";
import { BLOCK_BYTES, isZeroBlock, numberAt, parseHeader, type RawHeader } from "./tar_header.ts";

/** What an entry makes. */
export type EntryType = "file" | "directory" | "symlink" | "hardlink" | "char" | "block" | "fifo";

/** One entry; strings are binary strings, the name as written. */
export interface TarEntry {
  readonly type: EntryType;
  readonly name: string;
  readonly linkName: string;
  /** Permission bits with set-uid, set-gid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Whole seconds since the epoch, within an unsigned 32-bit number as squashfs keeps them. */
  readonly mtimeSeconds: number;
  /** Size of the file with its holes; 0 for everything that is no file. */
  readonly sizeBytes: number;
  /** Stored stretches of a sparse file, ascending. */
  readonly sparse: readonly Stretch[] | undefined;
  readonly major: number;
  readonly minor: number;
  /** Names and values of extended attributes. */
  readonly xattrs: ReadonlyMap<string, string> | undefined;
}

/** The most bytes that one extended header, or all of one entry together, may have. */
export const MAX_EXTENDED_BYTES = 1 << 20;
const MAX_GLOBAL_BYTES = 8 << 20;
const MAX_TIME = 2 ** 32 - 1;
const TYPES: Record<string, EntryType> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  "S": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

/** A forward-only reader of one layer; {@linkcode DamagedLayer} is thrown for bytes that are no tar. */
export class TarReader {
  readonly #source: ByteSource;
  readonly #digest: string;
  readonly #globals = new Map<string, string>();
  #globalBytes = 0;
  #dataLeft = 0;
  #padding = 0;

  constructor(source: ByteSource, digest: string) {
    this.#source = source;
    this.#digest = digest;
  }

  /** The next entry, or undefined at the end; data of the last one that was not read is passed over. */
  async next(): Promise<TarEntry | undefined> {
    try {
      return await this.#next();
    } catch (error) {
      throw this.#told(error);
    }
  }

  /** The stored bytes of the current entry, in pieces that are valid until the next one is asked for. */
  async *data(): AsyncGenerator<Uint8Array> {
    try {
      while (this.#dataLeft > 0) {
        const piece = await this.#source.some(this.#dataLeft);
        if (!piece) throw new TruncatedStream(this.#source.offset, this.#dataLeft);
        this.#dataLeft -= piece.length;
        yield piece;
      }
    } catch (error) {
      throw this.#told(error);
    }
  }

  /** Reads what follows the archive's end, so that damage at the end of the layer is found too. */
  async drain(): Promise<void> {
    try {
      await this.#source.drain();
    } catch (error) {
      throw this.#told(error);
    }
  }

  #told(error: unknown): unknown {
    if (error instanceof SyntaxError || error instanceof TruncatedStream) {
      const where = error instanceof SyntaxError ? ` before byte ${this.#source.offset}` : "";
      return new DamagedLayer(this.#digest, `no whole tar archive: ${messageOf(error)}${where}`, error);
    }
    return error;
  }

  async #next(): Promise<TarEntry | undefined> {
    const source = this.#source;
    const records: PaxRecord[] = [];
    let longName: string | undefined;
    let longLink: string | undefined;
    let extendedBytes = 0;
    for (;;) {
      const pending = this.#dataLeft + this.#padding;
      if (pending > 0) await source.skip(pending);
      this.#dataLeft = this.#padding = 0;
      const block = source.tryTake(BLOCK_BYTES) ?? await source.take(BLOCK_BYTES);
      if (!block || isZeroBlock(block)) {
        if (records.length > 0 || longName !== undefined || longLink !== undefined) {
          throw new SyntaxError("an extended header without its entry");
        }
        // Two zero blocks end an archive; one followed by something else is damage.
        const second = block && await source.take(BLOCK_BYTES);
        if (second && !isZeroBlock(second)) throw new SyntaxError("a zero block within the archive");
        return undefined;
      }
      const raw = parseHeader(block);
      if (raw.sizeBytes < 0) throw new SyntaxError("a negative size");
      if (!"xXgLKV".includes(raw.type)) {
        const sparseHeader = raw.type === "S" ? block.slice() : undefined;
        return await this.#entry(raw, records, longName, longLink, sparseHeader);
      }
      if (raw.type === "V") { // a volume label: no entry
        this.#expect(raw.sizeBytes);
        continue;
      }
      extendedBytes += raw.sizeBytes;
      if (raw.type === "g" && (this.#globalBytes += raw.sizeBytes) > MAX_GLOBAL_BYTES) {
        throw unsafeEntry(this.#digest, raw.name, `is past ${MAX_GLOBAL_BYTES} bytes of global PAX headers`);
      }
      if (extendedBytes > MAX_EXTENDED_BYTES) {
        throw unsafeEntry(
          this.#digest,
          raw.name,
          `has extended headers of ${extendedBytes} bytes, at most ${MAX_EXTENDED_BYTES} are read`,
        );
      }
      const content = raw.sizeBytes === 0 ? new Uint8Array(0) : await source.take(raw.sizeBytes);
      if (!content) throw new TruncatedStream(source.offset, raw.sizeBytes);
      this.#padding = paddingOf(raw.sizeBytes);
      if (raw.type === "L") longName = untilNul(binaryOf(content));
      else if (raw.type === "K") longLink = untilNul(binaryOf(content));
      else if (raw.type === "g") {
        for (const [key, value] of parsePax(content)) this.#globals.set(key, value);
      } else records.push(...parsePax(content));
    }
  }

  async #entry(
    raw: RawHeader,
    records: PaxRecord[],
    longName: string | undefined,
    longLink: string | undefined,
    sparseHeader: Uint8Array | undefined,
  ): Promise<TarEntry> {
    const pax = this.#merged(records);
    const name = pax?.get("GNU.sparse.name") ?? pax?.get("path") ?? longName ?? raw.name;
    let type = TYPES[raw.type];
    if (!type) {
      throw unsafeEntry(
        this.#digest,
        name,
        `is of type "${shown(raw.type)}", which no file system object has`,
      );
    }
    // V7 had no directories: a name that ends in a slash meant one.
    if (raw.type === "\0" && name.endsWith("/")) type = "directory";
    const storedBytes = type === "file" ? numberOf(pax, "size") ?? raw.sizeBytes : 0;
    this.#expect(storedBytes);
    let sizeBytes = storedBytes;
    let sparse: readonly Stretch[] | undefined;
    if (sparseHeader) {
      sizeBytes = numberAt(sparseHeader, 483, 12);
      sparse = await this.#oldGnuMap(sparseHeader);
    } else if (pax && type === "file") {
      const realSize = numberOf(pax, "GNU.sparse.realsize") ?? numberOf(pax, "GNU.sparse.size");
      if (realSize !== undefined) {
        sizeBytes = realSize;
        sparse = pax.get("GNU.sparse.major") === "1" ? await this.#dataMap() : mapOfRecords(records) ?? [];
      }
    }
    if (sparse) checkMap(sparse, sizeBytes, this.#dataLeft);
    return {
      type,
      name,
      linkName: pax?.get("linkpath") ?? longLink ?? raw.linkName,
      mode: raw.mode & 0o7777,
      uid: numberOf(pax, "uid") ?? raw.uid,
      gid: numberOf(pax, "gid") ?? raw.gid,
      mtimeSeconds: clampTime(timeOf(pax) ?? raw.mtimeSeconds),
      sizeBytes,
      sparse,
      major: raw.major,
      minor: raw.minor,
      xattrs: pax && xattrsOf(pax),
    };
  }

  #expect(sizeBytes: number): void {
    this.#dataLeft = sizeBytes;
    this.#padding = paddingOf(sizeBytes);
  }

  /** Global records under the entry's own; an empty value takes a record back. Undefined when there are none. */
  #merged(records: readonly PaxRecord[]): Map<string, string> | undefined {
    if (records.length === 0 && this.#globals.size === 0) return undefined;
    const merged = new Map([...this.#globals, ...records]);
    for (const [key, value] of merged) {
      // An extended attribute may be empty; everything else is then as if it had not been given.
      if (value === "" && !key.includes(".xattr.") && !key.startsWith("GNU.")) merged.delete(key);
    }
    return merged;
  }

  /** Stretches in the header (4) and in blocks that follow it (21 each). */
  async #oldGnuMap(header: Uint8Array): Promise<Stretch[]> {
    const map = stretchesIn(header, 386, 4);
    let more = header[482] !== 0;
    while (more) {
      if (map.length > MAX_STRETCHES) {
        throw new SyntaxError(`a sparse map of over ${MAX_STRETCHES} stretches`);
      }
      const block = await this.#source.take(BLOCK_BYTES);
      if (!block) throw new TruncatedStream(this.#source.offset, BLOCK_BYTES);
      map.push(...stretchesIn(block, 0, 21));
      more = block[504] !== 0;
    }
    return map;
  }

  /** PAX 1.0: decimal numbers, one a line, in front of the data and padded to a block. */
  async #dataMap(): Promise<Stretch[]> {
    const numbers: number[] = [];
    let wanted = 1;
    let rest = "";
    while (numbers.length < wanted) {
      const block = this.#dataLeft < BLOCK_BYTES ? undefined : await this.#source.take(BLOCK_BYTES);
      if (!block) throw new SyntaxError("a sparse map that does not end");
      this.#dataLeft -= BLOCK_BYTES;
      const lines = (rest + binaryOf(block)).split("\n");
      rest = lines.pop()!;
      if (rest.length > BLOCK_BYTES) throw new SyntaxError("a malformed sparse map");
      for (const line of lines) {
        if (numbers.length === wanted) break;
        numbers.push(decimal(line));
        if (numbers.length === 1) wanted = 1 + 2 * numbers[0]!;
        if (wanted > 2 * MAX_STRETCHES) {
          throw new SyntaxError(`a sparse map of over ${MAX_STRETCHES} stretches`);
        }
      }
    }
    return stretchesOf(numbers.slice(1));
  }
}

function stretchesIn(block: Uint8Array, start: number, count: number): Stretch[] {
  const map: Stretch[] = [];
  for (let at = start; at < start + 24 * count; at += 24) {
    if (block[at] === 0) break;
    map.push({ offset: numberAt(block, at, 12), sizeBytes: numberAt(block, at + 12, 12) });
  }
  return map;
}

function paddingOf(sizeBytes: number): number {
  return (BLOCK_BYTES - sizeBytes % BLOCK_BYTES) % BLOCK_BYTES;
}

function untilNul(text: string): string {
  const nul = text.indexOf("\0");
  return nul < 0 ? text : text.slice(0, nul);
}

function clampTime(seconds: number): number {
  return Math.min(Math.max(Math.floor(seconds), 0), MAX_TIME);
}
