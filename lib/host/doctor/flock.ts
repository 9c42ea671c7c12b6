/**
 * Whether flock(2) in a directory keeps others out, by taking one lock twice, and how far it reaches, by
 * what is mounted there. Two open file descriptions are to flock what two processes are (flock(2)).
 *
 * @module
 */
import { errnoOf } from "../errno.ts";
import { NO_LOCK_ERRNOS } from "../flock.ts";
import { lockScopeOf, type Mount } from "../mounts.ts";
import { createTemp, type Temp } from "../temp_files.ts";
import { type Check, type Finding, reasonOf, shown } from "./check.ts";
import { mountHolding } from "./mount_holding.ts";

/** The check of `directory`. */
export function flockCheck(directory: string, { proc }: { proc: string }): Check {
  return { name: "flock", place: directory, look: () => lookAtFlock(directory, proc) };
}

const NO_EXCLUSION = "jobs that want one image at the same time each import it, as if they were alone";

async function lookAtFlock(directory: string, proc: string): Promise<Finding> {
  let temp: Temp;
  let mount: Mount | undefined;
  try {
    const path = await Deno.realPath(directory);
    mount = await mountHolding(path, proc);
    temp = await createTemp(path, "davit-doctor", { proc, mode: 0o600 });
  } catch (error) {
    return {
      state: "missing",
      detail: `no lock file can be made: ${reasonOf(error)}`,
      cost: "images cannot be imported there",
      mend: "name a directory that this user can write to with --dir",
    };
  }
  await using held = temp;
  const fsType = shown(mount?.fsType ?? "an unknown filesystem");
  try {
    const isHeld = await held.file.tryLock(true);
    using second = await Deno.open(held.path, { read: true, write: true });
    if (isHeld && !await second.tryLock(true)) return reachOf(mount);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined || !NO_LOCK_ERRNOS.has(errno)) throw error;
    return {
      state: "missing",
      detail: `flock is refused: ${errno} on ${fsType}`,
      cost: NO_EXCLUSION,
      mend: mendOf(mount),
    };
  }
  return {
    state: "missing",
    detail: `two holders had one lock at the same time on ${fsType}`,
    cost: NO_EXCLUSION,
    mend: mendOf(mount),
  };
}

/** What a lock that works here is worth elsewhere. */
function reachOf(mount: Mount | undefined): Finding {
  const works = "taken once, refused the second time";
  if (mount === undefined) {
    return { ...UNKNOWN, detail: `${works}; how far it reaches is not known: /proc does not tell the mount` };
  }
  const { reach, reason, isSoft } = lockScopeOf(mount);
  const why = shown(reason);
  if (mount.fsType === "overlay") {
    return {
      state: "degraded",
      detail: `${works}; overlay: this container's or node's own layer`,
      cost: "no other container sees the lock or the image, and both end with this one",
      mend: "in a container, mount a directory of the host (docker run -v) and name it with --dir",
    };
  }
  if (reach === "node") {
    return {
      state: "degraded",
      detail: `${works}; reaches this mount only: ${why}`,
      cost: "nodes that share the directory do not exclude each other: each may import the same image",
      mend: mendOf(mount),
    };
  }
  if (reach === "host" || reach === "cluster") {
    const detail = `${works}; reaches ${reach === "host" ? "this host" : "all hosts"}: ${why}`;
    return isSoft
      ? {
        state: "degraded",
        detail: `${detail}; a soft mount`,
        cost: "when the file server is slow, reads, writes and locks fail instead of waiting",
        mend: "mount it hard",
      }
      : { state: "ok", detail };
  }
  return { ...UNKNOWN, detail: `${works}; how far it reaches is not known: ${why}` };
}

const UNKNOWN: Omit<Finding, "detail"> = {
  state: "degraded",
  cost: "other nodes may not see the lock, and import the same image again",
  mend: "try it: `flock DIR/x sleep 60` on one node, `flock -n DIR/x true; echo $?` on another must print 1",
};

function mendOf(mount: Mount | undefined): string {
  const fsType = mount?.fsType ?? "";
  if (fsType === "lustre") return "mount Lustre with -o flock, not localflock or noflock";
  if (fsType.startsWith("nfs")) {
    return "mount NFS without nolock and local_lock; for version 3 run rpc.statd on server and client";
  }
  if (fsType === "fuse.sshfs") {
    return "share the directory by NFS, Lustre or the like: sshfs has no shared locks";
  }
  return "use a directory on a filesystem with locks (ext4, xfs, NFS 4, Lustre with -o flock)";
}
