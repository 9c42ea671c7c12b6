/**
 * Finds the directories in which the kernel accounts for a process, on cgroup v1, v2, both at once (hybrid), in
 * namespaces and behind bind mounts, and says whether they are certainly the right ones. From cgroups(7),
 * cgroup_namespaces(7) and Documentation/admin-guide/cgroup-v2.rst.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import {
  type CgroupMount,
  type CgroupRow,
  dirThrough,
  parseCgroupMounts,
  parseCgroupRows,
} from "./cgroup_mounts.ts";

/** Controllers that davit reads. */
export const CONTROLLERS = ["memory", "cpu", "pids"] as const;

/** One of them. */
export type Controller = typeof CONTROLLERS[number];

/** Where a controller's files are. */
export interface ControllerDir {
  readonly version: 1 | 2;
  readonly path: string;
  /** The mount it was reached through: directories up to there are its visible ancestors. */
  readonly mountPoint: string;
  /** It is the cgroup of the whole machine, which has neither limits nor, mostly, files of its own. */
  readonly isRoot: boolean;
}

/** A cgroup as far as it could be found. */
export interface CgroupLocation {
  readonly version: "v1" | "v2" | "hybrid" | "none";
  /** As the kernel names it to this process: the memory controller's cgroup, else that of v2. */
  readonly path: string | undefined;
  /** The process was found in every directory below; of a given cgroup: it is one. */
  readonly isVerified: boolean;
  /** `path` begins at a cgroup namespace's root: the kernel log names the cgroup by another, longer path. */
  readonly isNamespaced: boolean;
  /** Whether all cgroups above the memory controller's can be looked at; limits may hide in the others. */
  readonly areAncestorsVisible: boolean;
  readonly dirs: Readonly<Partial<Record<Controller, ControllerDir>>>;
}

/** What {@linkcode locateCgroup} looks at. */
export interface CgroupSources {
  readonly proc?: string;
  /** Where cgroups are when mountinfo does not tell. */
  readonly cgroupRoot?: string;
  /** The process, as cgroup.procs lists it. */
  readonly pid?: number;
  /** Another cgroup than one's own: a directory, or a path as in /proc/PID/cgroup. */
  readonly cgroup?: string | undefined;
}

/** The initial cgroup namespace has a fixed number (PROC_CGROUP_INIT_INO, include/linux/proc_ns.h). */
const INITIAL_NAMESPACE = "cgroup:[4026531835]";

/** Finds the cgroup of this process. Nothing missing is an error, except a given cgroup that is not there. */
export function locateCgroup(
  { proc = "/proc", cgroupRoot = "/sys/fs/cgroup", pid = Deno.pid, cgroup }: CgroupSources = {},
): CgroupLocation {
  const ownRows = parseCgroupRows(textOf(`${proc}/self/cgroup`) ?? "0::/");
  const mounted = parseCgroupMounts(textOf(`${proc}/self/mountinfo`) ?? "");
  const mounts = mounted.length > 0 ? mounted : usualMounts(cgroupRoot, ownRows);
  const rows = cgroup === undefined ? ownRows : givenRows(cgroup, mounts, ownRows);
  const isNamespaced = ![INITIAL_NAMESPACE, undefined].includes(linkOf(`${proc}/self/ns/cgroup`));
  const search = { rows, mounts, pid: cgroup === undefined ? pid : undefined, isNamespaced };
  const found = CONTROLLERS.map((name) => findDir(name, search));
  const dirs = Object.fromEntries(
    CONTROLLERS.flatMap((name, index) => found[index] ? [[name, found[index].dir]] : []),
  );
  const present = found.filter((entry) => entry !== undefined);
  if (cgroup !== undefined && present.length === 0) {
    throw new Failure(
      "NOINPUT",
      `Cannot watch cgroup "${cgroup}": there is none, a directory of a mounted hierarchy or a path as in ` +
        "/proc/PID/cgroup was wanted",
      {
        code: "no_cgroup",
        hint: "in a container, other cgroups show only with the host's /sys/fs/cgroup mounted",
      },
    );
  }
  return {
    version: versionOf(rows, mounts),
    path: rowOf("memory", rows)?.path ?? rows[0]?.path,
    isVerified: present.length > 0 && present.every(({ isVerified }) => isVerified),
    isNamespaced,
    areAncestorsVisible: !isNamespaced && found[0]?.root === "/",
    dirs,
  };
}

/** The row that decides for a controller: v1 where it is mounted there, else v2. */
function rowOf(controller: Controller, rows: readonly CgroupRow[]): CgroupRow | undefined {
  return rows.find(({ controllers }) => controllers.includes(controller)) ??
    rows.find(({ controllers }) => controllers.length === 0);
}

interface Found {
  readonly dir: ControllerDir;
  readonly root: string;
  readonly isVerified: boolean;
}

interface Search {
  readonly rows: readonly CgroupRow[];
  readonly mounts: readonly CgroupMount[];
  /** Undefined: the cgroup was given, and being one is all there is to verify. */
  readonly pid: number | undefined;
  readonly isNamespaced: boolean;
}

function findDir(
  controller: Controller,
  { rows, mounts, pid, isNamespaced }: Search,
): Found | undefined {
  const row = rowOf(controller, rows);
  if (row === undefined) return undefined;
  const version = row.controllers.length === 0 ? 2 : 1;
  const fitting = mounts.filter(({ controllers }) =>
    version === 2 ? controllers === undefined : controllers?.includes(controller)
  );
  const candidates = fitting.flatMap((mount): Found[] => {
    const path = dirThrough(mount, row.path);
    return path === undefined || !isDirectory(path) ? [] : [found(mount, path)];
  });
  function found(mount: CgroupMount, path: string): Found {
    const { mountPoint, root } = mount;
    const isRoot = !isNamespaced && root === "/" && path === mountPoint;
    return { dir: { version, path, mountPoint, isRoot }, root, isVerified: isIn(path, pid) };
  }
  // Of several views the one that shows the ancestors too.
  candidates.sort((one, other) => rank(one) - rank(other));
  if (candidates[0] !== undefined || pid === undefined) return candidates[0];
  // The path leads out of the namespace or the mount: what is mounted may still be ours, and says so if it is.
  const fallback = fitting.findLast(({ mountPoint }) => isDirectory(mountPoint));
  return fallback && found(fallback, fallback.mountPoint);
}

function rank({ isVerified, root }: Found): number {
  return (isVerified ? 0 : 2) + (root === "/" ? 0 : 1);
}

function isIn(directory: string, pid: number | undefined): boolean {
  const pids = textOf(`${directory}/cgroup.procs`);
  return pids !== undefined && (pid === undefined || pids.split("\n").includes(String(pid)));
}

function versionOf(rows: readonly CgroupRow[], mounts: readonly CgroupMount[]): CgroupLocation["version"] {
  const hasV1 = mounts.some(({ controllers = [] }) =>
    rows.some((row) =>
      row.controllers.some((name) => controllers.includes(name) && !name.startsWith("name="))
    )
  );
  const hasV2 = mounts.some(({ controllers }) => controllers === undefined) &&
    rows.some(({ controllers }) => controllers.length === 0);
  if (hasV1) return hasV2 ? "hybrid" : "v1";
  return hasV2 ? "v2" : "none";
}

/** Without mountinfo: the mounts that systemd and the container runtimes make. */
function usualMounts(cgroupRoot: string, rows: readonly CgroupRow[]): CgroupMount[] {
  // Only v2 has this file, at its root too.
  if (textOf(`${cgroupRoot}/cgroup.controllers`) !== undefined) {
    return [{ mountPoint: cgroupRoot, root: "/", controllers: undefined }];
  }
  return rows.flatMap(({ controllers }) =>
    [controllers.join(","), ...controllers]
      .map((name) => `${cgroupRoot}/${name}`)
      .filter((mountPoint) => mountPoint !== `${cgroupRoot}/` && isDirectory(mountPoint))
      .slice(0, 1)
      .map((mountPoint) => ({ mountPoint, root: "/", controllers }))
  );
}

/** The rows that a process in the cgroup `given` would have. */
function givenRows(
  given: string,
  mounts: readonly CgroupMount[],
  ownRows: readonly CgroupRow[],
): CgroupRow[] {
  if (!given.startsWith("/")) return [];
  const path = given.replace(/(?<=.)\/+$/, "");
  const holder = mounts
    .filter(({ mountPoint }) => path === mountPoint || path.startsWith(`${mountPoint}/`))
    .reduce<CgroupMount | undefined>(
      (best, mount) => mount.mountPoint.length >= (best?.mountPoint.length ?? 0) ? mount : best,
      undefined,
    );
  const kernelPath = holder === undefined
    ? path
    : `${holder.root === "/" ? "" : holder.root}${path.slice(holder.mountPoint.length)}` || "/";
  return ownRows.map(({ controllers }) => ({ controllers, path: kernelPath }));
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false; // whatever the reason, nothing can be read there
  }
}

function textOf(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined; // as above
  }
}

function linkOf(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return undefined; // kernels before 4.6 have no cgroup namespaces
  }
}
