/**
 * Reads the superblock of a squashfs 4.0 image and applies the rules that a finished image obeys. The superblock
 * is written last and the tables lie at the end, so these few bytes prove that a local mksquashfs or sqfstar
 * finished and that the tail is there; they prove nothing about file data, for which only a hash can.
 * Layout: struct squashfs_super_block in the kernel's fs/squashfs/squashfs_fs.h.
 *
 * @module
 */

const MAGIC = 0x73717368; // "hsqs", little-endian
const SUPERBLOCK_BYTES = 96;
const METADATA_BLOCK_BYTES = 8192;
const ABSENT = 0xffff_ffff_ffff_ffffn;
const COMPRESSORS = ["gzip", "lzma", "lzo", "xz", "lz4", "zstd"] as const;

/** What a squashfs image says of itself. */
export interface Superblock {
  readonly compressor: typeof COMPRESSORS[number];
  readonly inodes: number;
  /** Seconds since the epoch. */
  readonly mkfsTime: number;
  readonly bytesUsed: number;
  /** The 96 bytes themselves, hexadecimal: equal ones mean the same build of the same image. */
  readonly hex: string;
}

/** A superblock that holds, with what is odd about it; or why it does not hold. */
export type SuperblockVerdict =
  | { readonly ok: true; readonly superblock: Superblock; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly reason: string };

/** Reads `length` bytes at `offset`, fewer only at the end of the file. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** Judges the image of `size` bytes that `readAt` reads. Errors of `readAt` pass through: they judge nothing. */
export async function judgeSuperblock(readAt: ReadAt, size: number): Promise<SuperblockVerdict> {
  if (size < SUPERBLOCK_BYTES) return bad(`it has ${size} bytes, a superblock needs ${SUPERBLOCK_BYTES}`);
  const bytes = await readAt(0, SUPERBLOCK_BYTES);
  if (bytes.length < SUPERBLOCK_BYTES) {
    return bad(`only ${bytes.length} bytes of the superblock could be read`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u16 = (offset: number) => view.getUint16(offset, true);
  const u32 = (offset: number) => view.getUint32(offset, true);
  const u64 = (offset: number) => view.getBigUint64(offset, true);

  if (u32(0) !== MAGIC) {
    return bad(
      bytes.every((byte) => byte === 0)
        ? "its superblock is all zero: the writer was killed"
        : "it has no squashfs magic",
    );
  }
  if (u16(28) !== 4 || u16(30) !== 0) return bad(`it is squashfs ${u16(28)}.${u16(30)}, wanted 4.0`);
  const compressor = COMPRESSORS[u16(20) - 1];
  if (compressor === undefined) return bad(`its compressor ${u16(20)} is unknown`);
  if (u16(22) < 12 || u16(22) > 20 || u32(12) !== 2 ** u16(22)) {
    return bad(`its block size ${u32(12)} is impossible`);
  }
  if (u32(4) === 0) return bad("it has no inodes");
  if (u16(26) === 0) return bad("it has no ids");

  const used = u64(40);
  if (used <= BigInt(SUPERBLOCK_BYTES)) return bad(`it claims ${used} bytes`);
  if (used > BigInt(size)) return bad(`it is truncated: ${used} bytes expected, ${size} there`);
  const fault = tableFault({
    root: u64(32),
    id: u64(48),
    xattr: u64(56),
    inode: u64(64),
    directory: u64(72),
    fragment: u64(80),
    lookup: u64(88),
    used,
  }) ?? await idTableFault(readAt, { start: u64(48), ids: u16(26), directory: u64(72) });
  if (fault !== undefined) return bad(fault);

  const bytesUsed = Number(used);
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return {
    ok: true,
    superblock: { compressor, inodes: u32(4), mkfsTime: u32(8), bytesUsed, hex },
    warnings: paddingWarnings(size, bytesUsed),
  };
}

function bad(reason: string): SuperblockVerdict {
  return { ok: false, reason };
}

interface Tables {
  root: bigint;
  id: bigint;
  xattr: bigint;
  inode: bigint;
  directory: bigint;
  fragment: bigint;
  lookup: bigint;
  used: bigint;
}

/** The tables lie in a fixed order: inodes, directories, fragments, lookup, ids, xattrs. */
function tableFault(
  { root, id, xattr, inode, directory, fragment, lookup, used }: Tables,
): string | undefined {
  if (inode < BigInt(SUPERBLOCK_BYTES) || inode >= directory) return "its inode table lies outside the image";
  if (directory >= used || directory >= id || id >= used) {
    return "its directory or id table lies outside the image";
  }
  if ((root >> 16n) + inode >= directory || (root & 0xffffn) >= BigInt(METADATA_BLOCK_BYTES)) {
    return "its root inode lies outside the inode table";
  }
  if (fragment !== ABSENT && (fragment <= directory || fragment >= used)) {
    return "its fragment table lies outside the image";
  }
  if (lookup !== ABSENT && (lookup <= directory || lookup >= id)) {
    return "its lookup table lies outside the image";
  }
  if (xattr !== ABSENT && (xattr < id || xattr >= used)) return "its xattr table lies outside the image";
  return undefined;
}

/** The id table is an index of pointers to metadata blocks near the end: a lost tail shows here. */
async function idTableFault(
  readAt: ReadAt,
  { start, ids, directory }: { start: bigint; ids: number; directory: bigint },
): Promise<string | undefined> {
  const count = Math.ceil(ids * 4 / METADATA_BLOCK_BYTES);
  const index = await readAt(Number(start), count * 8);
  if (index.length < count * 8) return "its id table is cut off";
  const pointers = new DataView(index.buffer, index.byteOffset, index.byteLength);
  for (let i = 0; i < count; i++) {
    const pointer = pointers.getBigUint64(i * 8, true);
    if (pointer <= directory || pointer >= start) {
      return `its id table points to ${pointer}, outside of its place`;
    }
    const header = await readAt(Number(pointer), 2);
    const length = header.length < 2 ? 0 : (header[0]! | header[1]! << 8) & 0x7fff; // bit 15: stored raw
    if (length === 0 || length > METADATA_BLOCK_BYTES || pointer + 2n + BigInt(length) > start) {
      return "its id table is damaged";
    }
  }
  return undefined;
}

function paddingWarnings(size: number, bytesUsed: number): string[] {
  // The loop driver rounds the file down to 512 bytes; mksquashfs pads to 4096 for that reason.
  if (bytesUsed > Math.floor(size / 512) * 512) {
    return ["its padding was cut off: it can be unpacked but not mounted through a loop device"];
  }
  const expected = Math.ceil(bytesUsed / 4096) * 4096;
  return size > expected ? [`${size - expected} bytes follow the image`] : [];
}
