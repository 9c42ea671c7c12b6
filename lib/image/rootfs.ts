/**
 * The merged root filesystem as a tree in memory: what unpacking the layers one after the other would leave,
 * without unpacking anything. Holds metadata only; of a file's data it knows the layer and the entry.
 *
 * Paths are resolved as an unpacker confined to the root would: symbolic links of parents are followed inside the
 * root, ".." never leads above it, missing parents are made.
 *
 * @module
 */
import { ownCopy } from "./byte_strings.ts";

/** Why a path cannot be used; the caller says which entry of which layer it was. */
export class UnusablePath extends Error {}

/** What every object has. A leaf may have several names (hard links), a directory has one. */
export class Inode {
  /** Names in the tree. */
  links = 0;

  constructor(
    /** Index of the layer that made it or, for a directory, last put something below it. */
    public layer: number,
    public mode: number,
    public uid: number,
    public gid: number,
    public mtimeSeconds: number,
    /** Names and values of extended attributes in turn, binary strings. */
    public xattrs: readonly string[] | undefined,
  ) {}
}

/** A directory. */
export class Directory extends Inode {
  readonly children = new Map<string, Inode>();
  /** Undefined for the root. */
  parent: Directory | undefined;
  name = "";
  /** Length of its path from the root, in bytes. */
  pathBytes = 0;
}

/** A regular file. */
export class RegularFile extends Inode {
  /** Which entry of its layer carries the data, from 0. */
  ordinal = 0;
  /** With holes. */
  sizeBytes = 0;
  /** The data itself, where no layer has it. */
  content: Uint8Array | undefined;
}

/** A symbolic link. */
export class Symlink extends Inode {
  /** Where it points, a binary string, as written. */
  target = "";
}

/** A character or block device, or (with both numbers 0) a fifo. */
export class Special extends Inode {
  type: "char" | "block" | "fifo" = "fifo";
  major = 0;
  minor = 0;
}

/** A place for an object: the directory, made or about to be made, and the name in it. */
export interface Place {
  readonly directory: Directory;
  readonly name: string;
}

/** Limits of Linux: NAME_MAX, PATH_MAX, and the links that one resolution may follow. */
export const MAX_NAME_BYTES = 255;
export const MAX_PATH_BYTES = 4096;
const MAX_LINKS = 40;
const DEFAULT_DIRECTORY_MODE = 0o755;

/** The tree; `layer` arguments are indexes, 0 the lowest. */
export class Rootfs {
  readonly root: Directory;
  /** Time given to directories that no layer describes. */
  readonly #defaultSeconds: number;
  /** Names that the current layer gave to objects of lower layers. */
  #newNames = new Map<Directory, Set<string>>();

  constructor(defaultSeconds: number) {
    this.#defaultSeconds = defaultSeconds;
    this.root = new Directory(-1, DEFAULT_DIRECTORY_MODE, 0, 0, defaultSeconds, undefined);
    this.root.links = 1;
  }

  /** Forgets what only mattered while one layer was applied. */
  endLayer(): void {
    this.#newNames = new Map();
  }

  /** The directory at `components` if there is one. Throws {@linkcode UnusablePath} for a loop of links. */
  findDirectory(components: readonly string[]): Directory | undefined {
    const { directory, missing } = this.#resolve(components);
    return missing.length === 0 ? directory : undefined;
  }

  /** The object at `components`, its last component not followed; undefined when there is none. */
  find(components: readonly string[]): Inode | undefined {
    if (components.length === 0) return this.root;
    return this.findDirectory(components.slice(0, -1))?.children.get(components.at(-1)!);
  }

  /** The object at `components`, a symbolic link there followed too; undefined when there is none. */
  findFollowing(components: readonly string[]): Inode | undefined {
    const { directory, missing } = this.#resolve(components);
    return missing.length === 0
      ? directory
      : missing.length === 1
      ? directory.children.get(missing[0]!)
      : undefined;
  }

  /** The directory at `components`, made with its parents where missing; what is in the way is replaced. */
  makeDirectory(components: readonly string[], layer: number): Directory {
    const { directory, missing } = this.#resolve(components);
    let at = directory;
    for (const name of missing) {
      const made = new Directory(layer, DEFAULT_DIRECTORY_MODE, 0, 0, this.#defaultSeconds, undefined);
      this.put({ directory: at, name }, made, layer);
      at = made;
    }
    touch(at, layer);
    return at;
  }

  /** Puts `inode` at `place`, in place of what is there with all below it. Throws {@linkcode UnusablePath}. */
  put({ directory, name }: Place, inode: Inode, layer: number): void {
    if (name.length > MAX_NAME_BYTES) {
      throw new UnusablePath(`has a name of ${name.length} bytes, at most ${MAX_NAME_BYTES} are possible`);
    }
    const pathBytes = directory.pathBytes + name.length + 1;
    if (pathBytes > MAX_PATH_BYTES) {
      throw new UnusablePath(`has a path of ${pathBytes} bytes, at most ${MAX_PATH_BYTES} are possible`);
    }
    this.remove(directory, name);
    const own = ownCopy(name);
    directory.children.set(own, inode);
    inode.links++;
    if (inode instanceof Directory) {
      inode.parent = directory;
      inode.name = own;
      inode.pathBytes = pathBytes;
    } else if (inode.layer !== layer) {
      const names = this.#newNames.get(directory);
      if (names) names.add(own);
      else this.#newNames.set(directory, new Set([own]));
    }
    touch(directory, layer);
  }

  /** Removes a name and, for a directory, everything below. */
  remove(directory: Directory, name: string): void {
    const inode = directory.children.get(name);
    if (!inode) return;
    directory.children.delete(name);
    this.#newNames.get(directory)?.delete(name);
    inode.links--;
    if (inode instanceof Directory) this.empty(inode);
  }

  /** Removes everything below `directory`. */
  empty(directory: Directory): void {
    const pending = [directory];
    for (let next = pending.pop(); next; next = pending.pop()) {
      for (const child of next.children.values()) {
        child.links--;
        if (child instanceof Directory) pending.push(child);
      }
      next.children.clear();
    }
  }

  /** Applies a whiteout of `layer`: the name goes unless this very layer made it. */
  whiteOut(directory: Directory, name: string, layer: number): void {
    const child = directory.children.get(name);
    if (!child) return;
    if (!this.#isOfLayer(directory, name, child, layer)) this.remove(directory, name);
    else if (child instanceof Directory) this.whiteOutChildren(child, layer);
  }

  /** Applies an opaque whiteout of `layer`: what lower layers put below `directory` goes. */
  whiteOutChildren(directory: Directory, layer: number): void {
    for (const name of [...directory.children.keys()]) this.whiteOut(directory, name, layer);
  }

  #isOfLayer(directory: Directory, name: string, child: Inode, layer: number): boolean {
    return child.layer === layer || (this.#newNames.get(directory)?.has(name) ?? false);
  }

  /**
   * Follows `components` from the root: the deepest directory that exists, and the names below it that do not.
   * The first of them may be that of something which is no directory.
   */
  #resolve(components: readonly string[]): { directory: Directory; missing: string[] } {
    let directory = this.root;
    let missing: string[] = [];
    let followed = 0;
    const pending = [...components].reverse();
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (missing.length > 0) missing.pop();
        else directory = directory.parent ?? directory;
        continue;
      }
      const child = missing.length > 0 ? undefined : directory.children.get(name);
      if (child instanceof Directory) directory = child;
      else if (child instanceof Symlink) {
        if (++followed > MAX_LINKS) {
          throw new UnusablePath(
            `has a path through more than ${MAX_LINKS} symbolic links, or a loop of them`,
          );
        }
        if (child.target.startsWith("/")) {
          directory = this.root;
          missing = [];
        }
        pending.push(...child.target.split("/").reverse());
      } else missing.push(name);
    }
    return { directory, missing };
  }
}

/** Marks a directory and its parents as used by `layer`; parents of a marked one are marked already. */
function touch(directory: Directory, layer: number): void {
  for (let at: Directory | undefined = directory; at && at.layer !== layer; at = at.parent) at.layer = layer;
}

/** The path of `name` in `directory`, relative to the root. */
export function pathOf(directory: Directory, name: string): string {
  let path = name;
  for (let at = directory; at.parent; at = at.parent) path = `${at.name}/${path}`;
  return path;
}
