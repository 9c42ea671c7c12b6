/**
 * Which filesystem holds a path, and how far a flock(2) on it reaches. From proc_pid_mountinfo(5); what each
 * filesystem does with flock: flock(2) "NFS details", nfs(5) local_lock, mount.lustre(8).
 *
 * @module
 */

/** One line of mountinfo, the parts that matter here. */
export interface Mount {
  readonly mountPoint: string;
  readonly fsType: string;
  readonly source: string;
  /** Options of the mount and of the filesystem, e.g. `local_lock` -> `none`, `soft` -> "". */
  readonly options: ReadonlyMap<string, string>;
}

/** What a lock on a filesystem is worth. */
export interface LockScope {
  /**
   * cluster: all nodes see it; host: the filesystem is this host's own, so nobody else has to; node: other nodes
   * share the files but not the lock; refused: flock fails; unknown: the filesystem does not say.
   */
  readonly reach: "cluster" | "host" | "node" | "refused" | "unknown";
  /** Why, in words for a warning. */
  readonly reason: string;
  /** Calls may fail by timeout instead of waiting (soft mount). */
  readonly isSoft: boolean;
}

const LOCAL = new Set(
  "bcachefs btrfs erofs ext2 ext3 ext4 f2fs overlay ramfs squashfs tmpfs vfat xfs zfs".split(" "),
);
const CLUSTER = new Set("ceph gfs2 gpfs ocfs2 fuse.glusterfs fuse.cephfs wekafs beegfs".split(" "));

/** All mounts of this process, in mount order. */
export async function readMounts(proc = "/proc"): Promise<Mount[]> {
  return parseMountinfo(await Deno.readTextFile(`${proc}/self/mountinfo`));
}

/** Parses mountinfo; lines that do not fit the format are left out. */
export function parseMountinfo(text: string): Mount[] {
  return text.split("\n").flatMap((line) => {
    const [before, after] = line.split(" - ", 2);
    const mountPoint = before?.split(" ")[4];
    const [fsType, source, superOptions] = after?.split(" ") ?? [];
    if (mountPoint === undefined || fsType === undefined) return [];
    const words = `${before!.split(" ")[5] ?? ""},${superOptions ?? ""}`.split(",").filter(Boolean);
    const options = new Map(words.map((word) => {
      const at = word.indexOf("=");
      return at < 0 ? [word, ""] as const : [word.slice(0, at), word.slice(at + 1)] as const;
    }));
    return [{ mountPoint: unescape(mountPoint), fsType, source: unescape(source ?? ""), options }];
  });
}

/** The kernel writes space, tab, newline and backslash as octal. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

/** The mount that holds `path` (absolute, symlinks resolved): the longest mount point, of equals the last. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  let found: Mount | undefined;
  for (const mount of mounts) {
    const prefix = mount.mountPoint === "/" ? "/" : `${mount.mountPoint}/`;
    const holds = path === mount.mountPoint || path.startsWith(prefix);
    if (holds && mount.mountPoint.length >= (found?.mountPoint.length ?? 0)) found = mount;
  }
  return found;
}

/** How far a flock on `mount` reaches. */
export function lockScopeOf({ fsType, options }: Mount): LockScope {
  const isSoft = options.has("soft") || options.has("softerr");
  const scope = (reach: LockScope["reach"], reason: string): LockScope => ({ reach, reason, isSoft });
  if (LOCAL.has(fsType)) return scope("host", `${fsType} is this host's own`);
  if (CLUSTER.has(fsType)) return scope("cluster", `${fsType} shares locks between nodes`);
  if (fsType === "nfs" || fsType === "nfs4") {
    const local = options.get("local_lock");
    if (options.has("nolock")) return scope("node", "NFS is mounted with nolock");
    if (local === "flock" || local === "all") return scope("node", `NFS is mounted with local_lock=${local}`);
    return scope("cluster", `NFS ${options.get("vers") ?? ""} shares locks between nodes`);
  }
  if (fsType === "lustre") {
    if (options.has("localflock")) return scope("node", "Lustre is mounted with localflock");
    if (options.has("noflock")) return scope("refused", "Lustre is mounted with noflock");
    if (options.has("flock")) return scope("cluster", "Lustre is mounted with flock");
    return scope("unknown", "Lustre does not say how it was mounted");
  }
  if (fsType === "fuse.sshfs") return scope("node", "sshfs keeps locks in each mount");
  return scope("unknown", `it is not known what ${fsType} does with locks`);
}
