/**
 * Where the locks of this host are: a local directory, the same for all who may meet, and ours or root's.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";

/** What it is chosen by. */
export interface LockPlaces {
  /** The only one, where given: "hosts" that share a machine have one each. */
  readonly directory?: string | undefined;
  /** `XDG_RUNTIME_DIR`. */
  readonly runtimeDirectory?: string | undefined;
}

const SHARED_MODE = 0o1777;

/** The first usable directory, made where it is missing. Throws a {@linkcode Failure} when there is none. */
export async function lockDirectory({ directory, runtimeDirectory }: LockPlaces): Promise<string> {
  const uid = Deno.uid() ?? 0;
  const candidates: (readonly [string, number])[] = directory !== undefined ? [[directory, 0o700]] : [
    // Sticky and open to all: users of one docker meet there, once root has made it.
    ["/run/lock/davit", uid === 0 ? SHARED_MODE : 0o700],
    ...runtimeDirectory ? [[`${runtimeDirectory}/davit`, 0o700] as const] : [],
    [`/tmp/davit-${uid}`, 0o700],
  ];
  const refused: string[] = [];
  for (const [path, mode] of candidates) {
    const why = await refusalOf(path, mode, uid);
    if (why === undefined) return path;
    refused.push(`"${path}" ${why}`);
  }
  throw new Failure(
    "CANTCREAT",
    `Cannot lock a container: no directory for locks is usable: ${refused.join(", ")}`,
    {
      code: "no_lock_directory",
      hint: "DAVIT_CONTAINER_LOCK_DIR names another, on this host's own disk",
    },
  );
}

async function refusalOf(path: string, mode: number, uid: number): Promise<string | undefined> {
  try {
    // Others must not plant what we then trust: what is there already is looked at, never followed.
    await Deno.mkdir(path, { mode: 0o700 });
    await Deno.chmod(path, mode); // the umask has taken bits away
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    if (errno !== "EEXIST") return `cannot be made (${errno})`;
  }
  const { isDirectory, uid: owner, mode: found } = await Deno.lstat(path);
  if (!isDirectory) return "is not a directory";
  if (owner === uid) return undefined;
  return owner === 0 && ((found ?? 0) & SHARED_MODE) === SHARED_MODE ? undefined : "is another user's";
}
