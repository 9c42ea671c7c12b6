/**
 * What the kernel says of a process's cgroups: its rows in /proc/PID/cgroup (cgroups(7)) and the mounted hierarchies
 * in /proc/PID/mountinfo (proc_pid_mountinfo(5)).
 *
 * @module
 */

/** A row of /proc/PID/cgroup: one hierarchy and where the process is in it. */
export interface CgroupRow {
  /** v1: names of controllers, or `name=…`; empty for the v2 hierarchy. */
  readonly controllers: readonly string[];
  /** As the process's cgroup namespace shows it; begins with "/..", when outside of that. */
  readonly path: string;
}

/** A mounted hierarchy, or a part of one. */
export interface CgroupMount {
  readonly mountPoint: string;
  /** The cgroup that is seen at the mount point. */
  readonly root: string;
  /** v1: the options, controllers among them; undefined for v2. */
  readonly controllers: readonly string[] | undefined;
}

/** Parses /proc/PID/cgroup; lines that do not fit are left out. A path may have colons. */
export function parseCgroupRows(text: string): CgroupRow[] {
  return text.split("\n").flatMap((line) => {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (match === null) return [];
    const controllers = match[2]!.split(",").filter(Boolean);
    return controllers.length === 0 && match[1] !== "0" ? [] : [{ controllers, path: match[3]! }];
  });
}

/** The cgroup hierarchies in the text of mountinfo, in mount order. */
export function parseCgroupMounts(text: string): CgroupMount[] {
  return text.split("\n").flatMap((line) => {
    const [before, after] = line.split(" - ", 2);
    const [, , , root, mountPoint] = before!.split(" ");
    const [fsType, , superOptions = ""] = after?.split(" ") ?? [];
    if (root === undefined || mountPoint === undefined) return [];
    if (fsType !== "cgroup" && fsType !== "cgroup2") return [];
    const controllers = fsType === "cgroup2" ? undefined : superOptions.split(",");
    return [{ mountPoint: unescapeOctal(mountPoint), root: unescapeOctal(root), controllers }];
  });
}

/** The kernel writes space, tab, newline and backslash as octal. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

/**
 * Where the cgroup `path` is seen through `mount`, or undefined when it is not below the mount's root. Nothing above
 * a namespace's root is resolved: what a path with "/.." names cannot be told from inside.
 */
export function dirThrough({ mountPoint, root }: CgroupMount, path: string): string | undefined {
  if (isOutside(path) || isOutside(root)) return undefined;
  const below = root === "/"
    ? path
    : path === root
    ? ""
    : path.startsWith(`${root}/`) && path.slice(root.length);
  if (below === false) return undefined;
  return `${mountPoint}${below}`.replace(/(?<=.)\/+$/, "");
}

/** Whether a path leads out of the cgroup namespace. */
export function isOutside(path: string): boolean {
  return path === "/.." || path.startsWith("/../");
}
