/**
 * The second pass: writes a merged root filesystem as one clean tar stream. Every directory comes first (sqfstar
 * would make up missing ones with the present time), then what has no data, then the files layer by layer in the
 * layers' own order, each read once. Further names follow their file at once as hard links, so none points
 * forward (which kills sqfstar 4.5.1) and no name comes twice. The same layers always give the same bytes.
 *
 * @module
 */
import { ByteSource } from "./byte_source.ts";
import { openLayer } from "./decompress.ts";
import { DamagedLayer } from "./layer_failure.ts";
import type { ImagePlan, PlannedFile, PlannedLayer } from "./merge.ts";
import { Directory, Inode, pathOf, type Place, RegularFile, Special, Symlink } from "./rootfs.ts";
import { type TarEntry, TarReader } from "./tar_reader.ts";
import { type OutputEntry, type Sink, TarWriter } from "./tar_writer.ts";

/** Below this, writing the zeros is cheaper than being clever. */
const MIN_HOLES_BYTES = 1 << 20;

/** What {@linkcode emitTar} needs to know. */
export interface EmitOptions {
  readonly signal: AbortSignal;
  /** Called with bytes of {@linkcode ImagePlan.dataBytes} that are now written. */
  readonly onData?: (bytes: number) => void;
}

/** Writes `plan` to `sink`. Throws {@linkcode DamagedLayer}, what `sink` throws, and the abort reason. */
export async function emitTar(plan: ImagePlan, sink: Sink, options: EmitOptions): Promise<void> {
  const writer = new TarWriter(sink);
  await emitDirectories(plan.root, writer);
  for (const { inode, place } of plan.others) {
    const entry = outputOf(inode, pathOf(place.directory, place.name));
    await writer.header(entry);
    if (inode instanceof RegularFile && inode.content) {
      await writer.write(inode.content);
      await writer.endData(inode.sizeBytes);
      options.onData?.(inode.sizeBytes);
    }
    await emitLinks(plan.moreNames.get(inode), entry, writer);
  }
  for (const layer of plan.layers) {
    if (layer.files.length > 0) await emitLayer(layer, plan, writer, options);
  }
  await writer.finish();
}

async function emitDirectories(root: Directory, writer: TarWriter): Promise<void> {
  const pending = [root];
  for (let directory = pending.pop(); directory; directory = pending.pop()) {
    for (const [name, child] of directory.children) {
      if (!(child instanceof Directory)) continue;
      await writer.header(outputOf(child, pathOf(directory, name)));
      pending.push(child);
    }
  }
}

async function emitLayer(layer: PlannedLayer, plan: ImagePlan, writer: TarWriter, options: EmitOptions) {
  const source = new ByteSource(openLayer(layer, { signal: options.signal }));
  try {
    const reader = new TarReader(source, layer.digest);
    let ordinal = -1;
    for (const { inode, place } of layer.files) {
      let entry: TarEntry | undefined;
      do {
        entry = await reader.next();
        ordinal++;
      } while (entry && ordinal < inode.ordinal);
      if (entry?.type !== "file" || entry.sizeBytes !== inode.sizeBytes) {
        throw new DamagedLayer(layer.digest, "it changed while it was being read");
      }
      await emitFile({ inode, place }, entry, reader, plan, writer, options);
    }
  } finally {
    await source.close();
  }
}

async function emitFile(
  { inode, place }: PlannedFile,
  entry: TarEntry,
  reader: TarReader,
  plan: ImagePlan,
  writer: TarWriter,
  { onData }: EmitOptions,
): Promise<void> {
  const output = outputOf(inode, pathOf(place.directory, place.name));
  const { sparse } = entry;
  const stored = sparse?.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) ?? inode.sizeBytes;
  if (sparse && inode.sizeBytes - stored >= MIN_HOLES_BYTES) {
    await writer.sparseFile(output, sparse, inode.sizeBytes, reader.data());
    onData?.(inode.sizeBytes);
  } else {
    await writer.header(output);
    if (sparse) {
      await writer.expanded(sparse, inode.sizeBytes, reader.data());
      onData?.(inode.sizeBytes);
    } else {
      for await (const piece of reader.data()) {
        await writer.write(piece);
        onData?.(piece.length);
      }
    }
    await writer.endData(inode.sizeBytes);
  }
  await emitLinks(plan.moreNames.get(inode), output, writer);
}

async function emitLinks(places: readonly Place[] | undefined, first: OutputEntry, writer: TarWriter) {
  for (const { directory, name } of places ?? []) {
    await writer.header({
      ...first,
      type: "hardlink",
      name: pathOf(directory, name),
      linkName: first.name,
      sizeBytes: 0,
      xattrs: undefined,
    });
  }
}

function outputOf(inode: Inode, name: string): OutputEntry {
  const { mode, uid, gid, mtimeSeconds, xattrs } = inode;
  const common = { name, mode, uid, gid, mtimeSeconds, xattrs };
  if (inode instanceof Directory) return { ...common, type: "directory" };
  if (inode instanceof Symlink) return { ...common, type: "symlink", linkName: inode.target };
  if (inode instanceof RegularFile) return { ...common, type: "file", sizeBytes: inode.sizeBytes };
  const { type, major, minor } = inode as Special;
  return { ...common, type, major, minor };
}
