/**
 * The first of two passes over the layers: reads every header, lowest layer first, and works out which entries
 * make the merged root filesystem. The second pass (lib/image/emit.ts) reads the layers again for the data that
 * survived. Nothing is unpacked; memory grows with the number of entries only: 210 bytes of heap each (measured
 * with 500,000 files of 30-byte names, 20 a directory, Deno 2.9.6), about 420 bytes of RSS with the collector's slack.
 *
 * @module
 */
import type { Activity, Bar } from "../host/activity.ts";
import type { Log } from "../host/log.ts";
import { formatBytes } from "../units.ts";
import { ByteSource } from "./byte_source.ts";
import { type LayerFile, openLayer } from "./decompress.ts";
import { addEnrootFiles } from "./enroot_files.ts";
import { tooLarge } from "./layer_failure.ts";
import { type DroppedXattrs, LayerMerge } from "./layer_merge.ts";
import { Directory, Inode, type Place, RegularFile, Rootfs } from "./rootfs.ts";
import { TarReader } from "./tar_reader.ts";
import type { ImageConfig } from "./types.ts";

/** What {@linkcode indexLayers} needs to know. */
export interface IndexOptions {
  readonly config: ImageConfig;
  /** `docker://REGISTRY/REPOSITORY@sha256:…`, written into `/etc/rc`. */
  readonly provenance: string;
  /** The most bytes that all layers together may decompress to. */
  readonly maxUnpackedBytes: number;
  /** The most entries of all layers together; the default keeps the tree well within V8's 4 GB of heap. */
  readonly maxEntries?: number;
  readonly activity: Activity;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** A file whose data is to be copied from its layer, under its first name. */
export interface PlannedFile {
  readonly inode: RegularFile;
  readonly place: Place;
}

/** One layer and what is wanted from it, in the order of the layer. */
export interface PlannedLayer extends LayerFile {
  readonly files: readonly PlannedFile[];
}

/** What a merged root filesystem consists of. */
export interface ImagePlan {
  /** Names in the tree, without the root. */
  readonly entries: number;
  /** Bytes of all files, each hard-linked one once, holes included. */
  readonly dataBytes: number;
  readonly root: Directory;
  /** Owners and groups of everything but the root. */
  readonly otherIds: ReadonlySet<number>;
  /** Everything without data in a layer, and its first name. */
  readonly others: readonly { readonly inode: Inode; readonly place: Place }[];
  /** Further names of objects with more than one. */
  readonly moreNames: ReadonlyMap<Inode, readonly Place[]>;
  readonly layers: readonly PlannedLayer[];
}

/** All of one image together; a file capability costs about 100 bytes, so this is enough for two million. */
const MAX_XATTR_BYTES = 256 << 20;
const DIGEST_REGEXP = /^sha256:[0-9a-f]{64}$/;
const DEFAULT_MAX_ENTRIES = 10_000_000;
/** sqfstar fills and looks at every byte of a hole (6 GB/s here), so a few lines of tar could keep it for years. */
const MAX_SPARSE_BYTES = 16 * 2 ** 40;

/**
 * Reads the headers of `layers`, lowest first, and merges them. Throws {@linkcode DamagedLayer} naming the layer
 * to fetch again, a Failure `unsafe_layer` naming the entry, or `image_too_large` when a bound is passed.
 */
export async function indexLayers(layers: readonly LayerFile[], options: IndexOptions): Promise<ImagePlan> {
  const { config, activity, log } = options;
  const defaultSeconds = Math.min(Math.max(Math.floor(config.createdSeconds ?? 0), 0), 2 ** 32 - 1);
  const rootfs = new Rootfs(defaultSeconds);
  const dropped: DroppedXattrs = new Map();
  const counts: Counts = { entries: 0, unpackedBytes: 0, sparseBytes: 0, xattrBytes: 0 };
  activity.begin("index");
  const bars: Bar[] = [];
  for (const [index, { digest, path }] of layers.entries()) {
    const { size } = await Deno.stat(path);
    bars.push(activity.bar(String(index), digest.slice(0, "sha256:".length + 12), size));
  }
  for (const [index, layer] of layers.entries()) {
    const merge = new LayerMerge(rootfs, index, layer.digest, dropped);
    await indexLayer(layer, merge, counts, options, (bytes) => bars[index]!.done += bytes);
    merge.end();
  }
  // The container gets its own /dev; what an image has there could only get in the way.
  const dev = rootfs.root.children.get("dev");
  if (dev instanceof Directory) rootfs.empty(dev);
  addEnrootFiles(rootfs, {
    config,
    provenance: options.provenance,
    layer: layers.length,
    mtimeSeconds: defaultSeconds,
    log,
  });
  if (rootfs.root.xattrs) {
    log.warn("extended attributes of the root directory are left out: sqfstar cannot set them");
  }
  if (dropped.size > 0) {
    log.warn("extended attributes left out: squashfs cannot hold them or they mean nothing elsewhere", {
      count: [...dropped.values()].reduce((sum, count) => sum + count, 0),
      names: [...dropped.keys()].sort().join(","),
    });
  }
  return planOf(rootfs, layers);
}

interface Counts {
  entries: number;
  unpackedBytes: number;
  sparseBytes: number;
  xattrBytes: number;
}

/** What the attributes of an entry cost in memory. A global header gives its own to every entry that follows. */
function costOf(xattrs: ReadonlyMap<string, string> | undefined): number {
  let bytes = 0;
  for (const [name, value] of xattrs ?? []) bytes += 64 + name.length + value.length;
  return bytes;
}

async function indexLayer(
  layer: LayerFile,
  merge: LayerMerge,
  counts: Counts,
  options: IndexOptions,
  onRead: (bytes: number) => void,
): Promise<void> {
  const { signal, maxUnpackedBytes, maxEntries = DEFAULT_MAX_ENTRIES } = options;
  const counted = async function* () {
    for await (
      const chunk of openLayer(layer, { signal, onRead, verify: DIGEST_REGEXP.test(layer.digest) })
    ) {
      counts.unpackedBytes += chunk.length;
      if (counts.unpackedBytes > maxUnpackedBytes) {
        throw tooLarge(
          layer.digest,
          `the image unpacks to more than ${
            formatBytes(maxUnpackedBytes)
          } (${maxUnpackedBytes} bytes), the limit`,
          "raise the limit if the image is meant to be that large",
        );
      }
      yield chunk;
    }
  };
  const source = new ByteSource(counted());
  try {
    const reader = new TarReader(source, layer.digest);
    for (let ordinal = 0;; ordinal++) {
      const entry = await reader.next();
      if (!entry) break;
      if (++counts.entries > maxEntries) {
        throw tooLarge(
          layer.digest,
          `the image has more than ${maxEntries} entries`,
          "build it with fewer files",
        );
      }
      counts.xattrBytes += costOf(entry.xattrs);
      if (counts.xattrBytes > MAX_XATTR_BYTES) {
        throw tooLarge(
          layer.digest,
          `its extended attributes take more than ${formatBytes(MAX_XATTR_BYTES)} of memory`,
          "build it with fewer of them",
        );
      }
      if (entry.sparse && (counts.sparseBytes += entry.sizeBytes) > MAX_SPARSE_BYTES) {
        throw tooLarge(
          layer.digest,
          `its sparse files are larger than ${formatBytes(MAX_SPARSE_BYTES)} together`,
          "build it without them",
        );
      }
      merge.apply(entry, ordinal);
    }
    await reader.drain();
  } finally {
    await source.close();
  }
}

/** Walks the tree once and sorts its objects by where their data comes from. */
function planOf(rootfs: Rootfs, layers: readonly LayerFile[]): ImagePlan {
  const files: PlannedFile[][] = layers.map(() => []);
  const others: { inode: Inode; place: Place }[] = [];
  const moreNames = new Map<Inode, Place[]>();
  const otherIds = new Set<number>();
  let entries = 0;
  let dataBytes = 0;
  const pending = [rootfs.root];
  for (let directory = pending.pop(); directory; directory = pending.pop()) {
    for (const [name, inode] of directory.children) {
      entries++;
      otherIds.add(inode.uid).add(inode.gid);
      if (inode instanceof Directory) {
        pending.push(inode);
        continue;
      }
      const place = { directory, name };
      if (inode.links > 1) {
        const names = moreNames.get(inode);
        if (names) {
          names.push(place);
          continue;
        }
        moreNames.set(inode, []);
      }
      if (inode instanceof RegularFile && inode.sizeBytes > 0) {
        dataBytes += inode.sizeBytes;
        if (!inode.content) {
          files[inode.layer]!.push({ inode, place });
          continue;
        }
      }
      others.push({ inode, place });
    }
  }
  for (const wanted of files) wanted.sort((a, b) => a.inode.ordinal - b.inode.ordinal);
  return {
    entries,
    dataBytes,
    root: rootfs.root,
    otherIds,
    others,
    moreNames,
    layers: layers.map((layer, index) => ({ ...layer, files: files[index]! })),
  };
}
