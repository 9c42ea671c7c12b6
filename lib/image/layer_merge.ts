/**
 * Applies the entries of one layer to the tree, as the OCI image specification (layer.md, "Applying Changesets")
 * says and umoci unpacks: a later entry replaces an earlier one, a directory over a directory keeps what is below,
 * whiteouts hide lower layers only, wherever in the layer they stand.
 *
 * Where the specification is silent: a hard link whose target comes later in the same layer is made at the
 * layer's end; something in the way of a parent directory is replaced (as overlayfs would show it); AUFS
 * bookkeeping (`.wh..wh.*`) is passed over.
 *
 * @module
 */
import { unsafeEntry } from "./layer_failure.ts";
import {
  Directory,
  Inode,
  MAX_PATH_BYTES,
  RegularFile,
  Rootfs,
  Special,
  Symlink,
  UnusablePath,
} from "./rootfs.ts";
import type { Place } from "./rootfs.ts";
import type { TarEntry } from "./tar_reader.ts";
import { shown } from "./byte_strings.ts";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
const RESERVED = ".wh..wh.";
const MAX_TARGET_BYTES = 4095;
const MAX_XATTR_BYTES = 65536; // XATTR_SIZE_MAX
const MAX_XATTR_NAME_BYTES = 255; // XATTR_NAME_MAX
const MAX_OWNER = 2 ** 32 - 1;
const MAX_MAJOR = 0xfff;
const MAX_MINOR = 0xfffff;
/** Links to links that come later: each pass over them makes one more step of a chain. */
const MAX_LINK_PASSES = 40;

/** A hard link whose target has not come yet. */
interface WaitingLink {
  readonly entry: TarEntry;
  readonly components: string[];
  readonly target: string[];
}

/** Names of extended attributes that were left out, with how often; for one line in the log. */
export type DroppedXattrs = Map<string, number>;

/** Merges one layer; make one for each, lowest first. */
export class LayerMerge {
  readonly #rootfs: Rootfs;
  readonly #layer: number;
  readonly #digest: string;
  readonly #dropped: DroppedXattrs;
  readonly #waiting: WaitingLink[] = [];

  constructor(rootfs: Rootfs, layer: number, digest: string, dropped: DroppedXattrs) {
    this.#rootfs = rootfs;
    this.#layer = layer;
    this.#digest = digest;
    this.#dropped = dropped;
  }

  /** Applies the entry that is number `ordinal` of its layer. Throws a Failure (`unsafe_layer`) naming it. */
  apply(entry: TarEntry, ordinal: number): void {
    try {
      this.#apply(entry, ordinal);
    } catch (error) {
      throw error instanceof UnusablePath ? unsafeEntry(this.#digest, entry.name, error.message) : error;
    }
  }

  /** Makes the hard links that waited for their targets. */
  end(): void {
    let waiting = this.#waiting;
    for (let pass = 0; waiting.length > 0; pass++) {
      const left = waiting.filter((link) => !this.#makeWaiting(link));
      const { entry } = left[0] ?? waiting[0]!;
      if (left.length === waiting.length || (left.length > 0 && pass === MAX_LINK_PASSES)) {
        throw this.#unsafe(entry, `is a hard link to "${shown(entry.linkName)}", which does not exist`);
      }
      waiting = left;
    }
    this.#rootfs.endLayer();
  }

  #apply(entry: TarEntry, ordinal: number): void {
    const components = this.#componentsOf(entry, entry.name, "leads out of the root");
    const name = components.pop();
    if (name === undefined) {
      if (entry.type !== "directory") throw this.#unsafe(entry, "would replace the root by something else");
      this.#describe(this.#rootfs.root, entry);
      return;
    }
    if (components.some((component) => component.startsWith(WHITEOUT))) return;
    if (name.startsWith(WHITEOUT)) return this.#whiteOut(entry, components, name);
    this.#check(entry);
    const place = { directory: this.#rootfs.makeDirectory(components, this.#layer), name };
    if (entry.type === "hardlink") {
      const target = this.#componentsOf(entry, entry.linkName, "is a hard link out of the root");
      const link = { entry, components, target };
      if (this.#link(place, link)) return;
      this.#rootfs.remove(place.directory, name);
      this.#waiting.push({ ...link, components: [...components, name] });
      return;
    }
    const existing = place.directory.children.get(name);
    if (entry.type === "directory" && existing instanceof Directory) {
      this.#describe(existing, entry);
      existing.layer = this.#layer;
    } else this.#rootfs.put(place, this.#made(entry, ordinal), this.#layer);
  }

  #whiteOut(entry: TarEntry, parent: string[], name: string): void {
    const directory = this.#rootfs.findDirectory(parent);
    if (name === OPAQUE) {
      if (directory) this.#rootfs.whiteOutChildren(directory, this.#layer);
      return;
    }
    if (name.startsWith(RESERVED)) return;
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === "" || hidden === "." || hidden === "..") {
      throw this.#unsafe(entry, "is a whiteout of no name");
    }
    if (directory) this.#rootfs.whiteOut(directory, hidden, this.#layer);
  }

  /** Makes a hard link if its target is there. */
  #link(place: Place, { entry, target }: WaitingLink): boolean {
    const inode = this.#rootfs.find(target);
    if (!inode) return false;
    if (inode instanceof Directory) {
      throw this.#unsafe(entry, `is a hard link to "${shown(entry.linkName)}", a directory`);
    }
    this.#rootfs.put(place, inode, this.#layer);
    return true;
  }

  #makeWaiting(link: WaitingLink): boolean {
    try {
      const directory = this.#rootfs.makeDirectory(link.components.slice(0, -1), this.#layer);
      const name = link.components.at(-1)!;
      // A later entry of this layer took the name: the last one wins.
      if (directory.children.has(name)) return true;
      return this.#link({ directory, name }, link);
    } catch (error) {
      throw error instanceof UnusablePath ? unsafeEntry(this.#digest, link.entry.name, error.message) : error;
    }
  }

  #made(entry: TarEntry, ordinal: number): Inode {
    const { mode, uid, gid, mtimeSeconds } = entry;
    const common = [this.#layer, mode, uid, gid, mtimeSeconds, this.#xattrsOf(entry)] as const;
    switch (entry.type) {
      case "directory":
        return new Directory(...common);
      case "symlink": {
        const symlink = new Symlink(...common);
        symlink.target = entry.linkName;
        return symlink;
      }
      case "file": {
        const file = new RegularFile(...common);
        file.ordinal = ordinal;
        file.sizeBytes = entry.sizeBytes;
        return file;
      }
      case "hardlink":
        throw new TypeError("a hard link makes no inode");
      default: {
        const special = new Special(...common);
        special.type = entry.type;
        if (entry.type !== "fifo") {
          special.major = entry.major;
          special.minor = entry.minor;
        }
        return special;
      }
    }
  }

  #describe(directory: Directory, entry: TarEntry): void {
    this.#check(entry);
    directory.mode = entry.mode;
    directory.uid = entry.uid;
    directory.gid = entry.gid;
    directory.mtimeSeconds = entry.mtimeSeconds;
    directory.xattrs = this.#xattrsOf(entry);
  }

  #check(entry: TarEntry): void {
    for (const owner of [entry.uid, entry.gid]) {
      if (owner < 0 || owner > MAX_OWNER) {
        throw this.#unsafe(entry, `has owner ${owner}, outside 0 to ${MAX_OWNER}`);
      }
    }
    if (entry.major < 0 || entry.major > MAX_MAJOR || entry.minor < 0 || entry.minor > MAX_MINOR) {
      throw this.#unsafe(
        entry,
        `has device number ${entry.major}:${entry.minor}, squashfs holds at most ${MAX_MAJOR}:${MAX_MINOR}`,
      );
    }
    if (entry.type !== "symlink") return;
    const { length } = entry.linkName;
    if (length === 0 || length > MAX_TARGET_BYTES || entry.linkName.includes("\0")) {
      throw this.#unsafe(
        entry,
        `has a link target of ${length} bytes, expected 1 to ${MAX_TARGET_BYTES} without NUL`,
      );
    }
  }

  /** The path's components with "." and ".." worked out as text, as tar's own names are. */
  #componentsOf(entry: TarEntry, path: string, whatIfOut: string): string[] {
    if (path.length > MAX_PATH_BYTES || path.includes("\0")) {
      throw this.#unsafe(
        entry,
        `has a path of ${path.length} bytes, expected at most ${MAX_PATH_BYTES} without NUL`,
      );
    }
    const components: string[] = [];
    for (const component of path.split("/")) {
      if (component === "" || component === ".") continue;
      if (component !== "..") components.push(component);
      else if (components.pop() === undefined) throw this.#unsafe(entry, whatIfOut);
    }
    return components;
  }

  #xattrsOf(entry: TarEntry): readonly string[] | undefined {
    if (!entry.xattrs) return undefined;
    const kept: string[] = [];
    for (const [name, value] of entry.xattrs) {
      if (value.length > MAX_XATTR_BYTES || name.length > MAX_XATTR_NAME_BYTES || name.includes("\0")) {
        throw this.#unsafe(
          entry,
          `has an extended attribute of ${name.length} and ${value.length} bytes, ` +
            `at most ${MAX_XATTR_NAME_BYTES} and ${MAX_XATTR_BYTES} are possible`,
        );
      }
      if (isKept(name)) kept.push(name, value);
      else if (this.#dropped.size < 100 || this.#dropped.has(name)) {
        this.#dropped.set(name, (this.#dropped.get(name) ?? 0) + 1);
      }
    }
    return kept.length > 0 ? kept : undefined;
  }

  #unsafe(entry: TarEntry, reason: string): Error {
    return unsafeEntry(this.#digest, entry.name, reason);
  }
}

/**
 * Whether squashfs can hold the attribute (it knows three prefixes; sqfstar ends at any other) and it means
 * anything outside the machine that made it: overlayfs' and SELinux' own do not.
 */
function isKept(name: string): boolean {
  return /^(user|trusted|security)\../s.test(name) && !name.startsWith("trusted.overlay.") &&
    name !== "security.selinux";
}
