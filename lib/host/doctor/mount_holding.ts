/**
 * The mount that holds a path, where /proc tells it.
 *
 * @module
 */
import { errnoOf } from "../errno.ts";
import { type Mount, mountOf, readMounts } from "../mounts.ts";

/** The mount of `path` (absolute, symlinks resolved); undefined where mountinfo is hidden or does not name it. */
export async function mountHolding(path: string, proc: string): Promise<Mount | undefined> {
  try {
    return mountOf(path, await readMounts(proc));
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined; // the report then says that it is not known
  }
}
