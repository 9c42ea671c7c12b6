/**
 * Real cgroups of version 1, for tests that want a limit to be one.
 *
 * @module
 */
import type { KernelFeature } from "./needs.ts";

const ROOT = "/sys/fs/cgroup";
const EMPTY_WITHIN_MS = 10_000;

/** One cgroup of the same name in several controllers' hierarchies. Leaving its block kills who is in it. */
export interface V1Cgroup extends AsyncDisposable {
  /** As the kernel names it. */
  readonly path: string;
  dir(controller: string): string;
  /** Sets `<controller>.<name>`. */
  set(controller: string, name: string, value: string | number): Promise<void>;
  /** Shell text that puts the shell into the cgroup, everywhere. */
  readonly enter: string;
  /** Removes it now, kills who is in it. */
  remove(): Promise<void>;
  /** Makes it again. */
  make(): Promise<void>;
}

/** Version 1 hierarchies, one controller each, in which a cgroup can be made. */
export function v1Controllers(...controllers: string[]): KernelFeature {
  return {
    name: `cgroup v1 with ${controllers.join(", ")}`,
    works: () => controllers.every((name) => isWritable(`${ROOT}/${name}/cgroup.procs`)),
  };
}

/** Makes a cgroup in the hierarchies of `controllers`; `path` is given for one below another. */
export async function v1Cgroup(
  controllers: readonly string[],
  path = `/davit-test-${crypto.randomUUID().slice(0, 8)}`,
): Promise<V1Cgroup> {
  const dir = (controller: string) => `${ROOT}/${controller}${path}`;
  const cgroup: V1Cgroup = {
    path,
    dir,
    set: (controller, name, value) =>
      Deno.writeTextFile(
        `${dir(controller)}/${name.includes(".") ? name : `${controller}.${name}`}`,
        `${value}`,
      ),
    enter: controllers.map((name) => `echo $$ > ${dir(name)}/cgroup.procs`).join(" && "),
    async make() {
      for (const name of controllers) await Deno.mkdir(dir(name));
    },
    async remove() {
      for (const name of controllers) await removeCgroup(dir(name));
    },
    [Symbol.asyncDispose]: () => cgroup.remove(),
  };
  await cgroup.make();
  return cgroup;
}

/** rmdir(2) says EBUSY while somebody, be it a zombie, is inside. */
async function removeCgroup(dir: string): Promise<void> {
  const deadline = performance.now() + EMPTY_WITHIN_MS;
  for (;;) {
    try {
      return await Deno.remove(dir);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      if (performance.now() > deadline) throw error;
    }
    for (const pid of (await Deno.readTextFile(`${dir}/cgroup.procs`)).split("\n").filter(Boolean)) {
      try {
        Deno.kill(Number(pid), "SIGKILL");
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function isWritable(path: string): boolean {
  try {
    Deno.openSync(path, { write: true }).close();
    return true;
  } catch {
    return false;
  }
}
