/**
 * Sets owner and time of a squashfs image's root directory, in place. sqfstar 4.5.1 understands `-root-uid`,
 * `-root-gid` and `-root-time` but does not act on them (measured): the root then belongs to whoever ran it and
 * carries the present time, so that no two images were equal. Later versions act on them, and nothing is left to
 * do here. Needs inodes and ids stored uncompressed (`-noI`). Layout: the kernel's fs/squashfs/squashfs_fs.h.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { escapeControls } from "../host/logfmt.ts";

/** What the root directory is to have. */
export interface RootOwner {
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  /** Owners of everything else in the image. */
  readonly otherIds: ReadonlySet<number>;
}

const SUPERBLOCK_BYTES = 96;
const BLOCK_BYTES = 8192;
const STORED_FLAG = 0x8000;
const INODE_HEAD_BYTES = 16;
const DIRECTORY_TYPES = [1, 8];
const IDS_PER_BLOCK = BLOCK_BYTES / 4;

/**
 * Patches the image at `path`. Returns false when an owner could not be set, because the image's table of owners
 * has neither it nor a free place. Throws a Failure (`converter_failed`) when the image is not as expected.
 */
export async function setRootOwner(path: string, root: RootOwner): Promise<boolean> {
  using file = await Deno.open(path, { read: true, write: true });
  const superblock = view(await readAt(file, 0, SUPERBLOCK_BYTES));
  const reference = superblock.getBigUint64(32, true);
  const inodeTable = Number(superblock.getBigUint64(64, true));
  const idTable = Number(superblock.getBigUint64(48, true));
  const idCount = superblock.getUint16(26, true);

  const block = inodeTable + Number(reference >> 16n);
  await checkStored(file, block, path);
  // Full blocks hold 8192 bytes behind a length of 2; the inode may go over the edge of one.
  const start = Number(reference & 0xffffn);
  const positions = Array.from({ length: INODE_HEAD_BYTES }, (_, index) => {
    const within = start + index;
    return block + 2 + within + (within < BLOCK_BYTES ? 0 : 2);
  });
  const head = new Uint8Array(INODE_HEAD_BYTES);
  for (const [index, position] of positions.entries()) head.set(await readAt(file, position, 1), index);
  const inode = view(head);
  if (!DIRECTORY_TYPES.includes(inode.getUint16(0, true))) throw unexpected(path, "its root is no directory");

  const ids = await readIds(file, idTable, idCount, path);
  const used = new Set(root.otherIds);
  const own = [inode.getUint16(4, true), inode.getUint16(6, true)];
  let complete = true;
  for (const [offset, wanted] of [[4, root.uid], [6, root.gid]] as const) {
    const current = inode.getUint16(offset, true);
    let index = ids.findIndex(({ id }) => id === wanted);
    if (index < 0 && !used.has(at(ids, current, path).id)) {
      await setId(file, at(ids, current, path), wanted);
      index = current;
    }
    if (index < 0) complete = false;
    else inode.setUint16(offset, index, true);
    used.add(index < 0 ? at(ids, current, path).id : wanted);
  }
  // Whoever ran sqfstar may still stand in the table, for nothing; two users would get two images.
  for (const entry of own.map((index) => at(ids, index, path))) {
    if (!used.has(entry.id)) await setId(file, entry, root.uid);
  }
  inode.setUint32(8, root.mtimeSeconds, true);
  for (const [index, position] of positions.entries()) {
    await writeAt(file, position, head.subarray(index, index + 1));
  }
  return complete;
}

/** One entry of the table by which inodes name their owners, and where in the file it is. */
interface Id {
  id: number;
  readonly position: number;
}

async function readIds(file: Deno.FsFile, start: number, count: number, path: string): Promise<Id[]> {
  const ids: Id[] = [];
  for (let pointer = start; ids.length < count; pointer += 8) {
    const block = Number(view(await readAt(file, pointer, 8)).getBigUint64(0, true));
    await checkStored(file, block, path);
    const bytes = view(await readAt(file, block + 2, 4 * Math.min(count - ids.length, IDS_PER_BLOCK)));
    for (let offset = 0; offset < bytes.byteLength; offset += 4) {
      ids.push({ id: bytes.getUint32(offset, true), position: block + 2 + offset });
    }
  }
  return ids;
}

function at(ids: readonly Id[], index: number, path: string): Id {
  const entry = ids[index];
  if (!entry) throw unexpected(path, "an inode's owner is not in its table");
  return entry;
}

async function setId(file: Deno.FsFile, entry: Id, id: number): Promise<void> {
  const bytes = new Uint8Array(4);
  view(bytes).setUint32(0, id, true);
  await writeAt(file, entry.position, bytes);
  entry.id = id;
}

async function checkStored(file: Deno.FsFile, block: number, path: string): Promise<void> {
  if ((view(await readAt(file, block, 2)).getUint16(0, true) & STORED_FLAG) === 0) {
    throw unexpected(path, "its inodes are compressed");
  }
}

async function readAt(file: Deno.FsFile, position: number, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  await file.seek(position, Deno.SeekMode.Start);
  for (let filled = 0; filled < count;) {
    const step = await file.read(bytes.subarray(filled));
    if (step === null) throw unexpected("", `it ends before byte ${position + count}`);
    filled += step;
  }
  return bytes;
}

async function writeAt(file: Deno.FsFile, position: number, bytes: Uint8Array): Promise<void> {
  await file.seek(position, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unexpected(path: string, what: string): Failure {
  return new Failure(
    "IOERR",
    `Cannot finish the squashfs image${
      path && ` "${escapeControls(path)}"`
    }: ${what}, sqfstar was to make it otherwise`,
    { code: "converter_failed" },
  );
}
