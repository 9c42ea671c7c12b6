/**
 * Memory cgroups with a limit, and processes that run into it, for tests that need a real OOM kill.
 *
 * @module
 */
import type { KernelFeature } from "./needs.ts";
import { type RunResult, start } from "./run.ts";

const V1 = "/sys/fs/cgroup/memory";
const V2 = "/sys/fs/cgroup";

/** A cgroup that is removed at the end; it must be empty then. */
export interface MemoryCgroup extends AsyncDisposable {
  /** As the kernel log names it. */
  readonly path: string;
  /** Makes a cgroup in it, with a limit of its own or none. */
  child(name: string, limitBytes?: number): Promise<MemoryCgroup>;
  /** Runs `argv` in it, in one process. */
  run(argv: readonly string[]): Promise<RunResult & { readonly pid: number }>;
}

/** The kernel reports ten kills in this time, and of more no more than that they were. */
export const REPORT_LIMIT_MS = 5_000;

/** Takes memory until somebody ends it: tail keeps what may be the last line, and there is no end of it. */
export const HOG = ["tail", "/dev/zero"];

/** Memory cgroups that this process may make, and whose names the kernel log has as they are seen here. */
export const memoryCgroups: KernelFeature = {
  name: "memory cgroups outside of a cgroup namespace",
  works() {
    const probe = `${root()}/davit-probe-${crypto.randomUUID()}`;
    try {
      // The first cgroup namespace has this number in every kernel (PROC_CGROUP_INIT_INO).
      if (Deno.readLinkSync("/proc/self/ns/cgroup") !== "cgroup:[4026531835]") return false;
      Deno.mkdirSync(probe);
      const files = [...Deno.readDirSync(probe)].map(({ name }) => name);
      Deno.removeSync(probe);
      return files.includes("memory.limit_in_bytes") || files.includes("memory.max");
    } catch {
      return false;
    }
  },
};

/** Makes a cgroup below the hierarchy's root. */
export async function memoryCgroup(name: string, limitBytes?: number): Promise<MemoryCgroup> {
  return await make(root(), "", `davit-${name}-${crypto.randomUUID().slice(0, 8)}`, limitBytes);
}

function root(): string {
  try {
    return Deno.statSync(`${V1}/memory.limit_in_bytes`) && V1;
  } catch {
    return V2;
  }
}

async function make(
  hierarchy: string,
  parent: string,
  name: string,
  limitBytes?: number,
): Promise<MemoryCgroup> {
  const path = `${parent}/${name}`;
  const dir = hierarchy + path;
  await Deno.mkdir(dir);
  if (limitBytes !== undefined) {
    const file = hierarchy === V1 ? "memory.limit_in_bytes" : "memory.max";
    await Deno.writeTextFile(`${dir}/${file}`, String(limitBytes));
    // Without it a machine with swap would only get slow.
    if (hierarchy === V2) await Deno.writeTextFile(`${dir}/memory.swap.max`, "0").catch(() => {});
  }
  return {
    path,
    async child(childName, childLimitBytes) {
      if (hierarchy === V2) await Deno.writeTextFile(`${dir}/cgroup.subtree_control`, "+memory");
      return await make(hierarchy, path, childName, childLimitBytes);
    },
    async run(argv) {
      const { pid, done } = start(["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', dir, ...argv]);
      return { ...await done, pid };
    },
    async [Symbol.asyncDispose]() {
      for (let attempt = 0;; attempt++) {
        try {
          return await Deno.remove(dir);
        } catch (error) {
          // EBUSY for a moment: a killed process is still on its way out.
          if (attempt === 100) throw error;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    },
  };
}
