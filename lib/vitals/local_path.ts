/**
 * Where a path leads when no network filesystem may be touched on the way: a call on one whose server is gone never
 * returns. Each component is looked at only after mountinfo has said that what holds it is local.
 *
 * @module
 */
import { lockScopeOf, type Mount, mountOf } from "../host/mounts.ts";

/** As many as the kernel follows (path_resolution(7)). */
const SYMLINK_LIMIT = 40;

/** A place on a filesystem. */
export interface Place {
  /** Without symlinks, as far as it was followed. */
  readonly path: string;
  readonly fsType: string;
  /** False: the path enters a filesystem that may wait for another machine, and was not followed into it. */
  readonly isLocal: boolean;
}

/** Follows an absolute `path`; undefined when mountinfo does not cover it. Throws what lstat(2) fails with. */
export function placeOf(path: string, mounts: readonly Mount[]): Place | undefined {
  let links = 0;
  let at = "/";
  const left = path.split("/").filter(Boolean).reverse();
  for (;;) {
    const mount = mountOf(at, mounts);
    if (mount === undefined) return undefined;
    if (!isLocal(mount)) return { path: at, fsType: mount.fsType, isLocal: false };
    const name = left.pop();
    if (name === undefined) return { path: at, fsType: mount.fsType, isLocal: true };
    if (name === ".") continue;
    const next = name === ".." ? at.replace(/\/[^/]*$/, "") || "/" : `${at === "/" ? "" : at}/${name}`;
    // A mount point is no symlink, and its lstat would already be answered by what is mounted there.
    if (name === ".." || mounts.some(({ mountPoint }) => mountPoint === next) || !isSymlink(next)) {
      at = next;
      continue;
    }
    if (++links > SYMLINK_LIMIT) throw new Error(`ELOOP: "${path}" has too many symlinks (os error 40)`);
    const target = Deno.readLinkSync(next);
    if (target.startsWith("/")) at = "/";
    left.push(...target.split("/").filter(Boolean).reverse());
  }
}

function isSymlink(path: string): boolean {
  return Deno.lstatSync(path).isSymlink;
}

/** virtiofs is a directory of the same machine's host: the root of many virtual machines that run containers. */
function isLocal(mount: Mount): boolean {
  return ["virtiofs", "devtmpfs"].includes(mount.fsType) || lockScopeOf(mount).reach === "host";
}
