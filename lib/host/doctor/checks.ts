/**
 * All checks of `davit doctor`, in the order of the report.
 *
 * @module
 */
import { cgroupCheck } from "./cgroup.ts";
import type { Check } from "./check.ts";
import { clockCheck } from "./clock.ts";
import { dockerCheck, podmanCheck } from "./container_sockets.ts";
import { flockCheck } from "./flock.ts";
import { gpuCheck } from "./gpu.ts";
import { kmsgCheck } from "./kmsg.ts";
import { diskCheck, rpcDirCheck } from "./places.ts";
import { psiCheck } from "./psi.ts";
import { slurmCheck } from "./slurm.ts";
import { enrootCheck, squashfsCheck, type ToolSources } from "./tools.ts";

/** What is looked at; the last three have the machine's own places as defaults. */
export interface Surroundings extends ToolSources {
  /** The directory that images are to be kept in. */
  readonly directory: string;
  readonly proc?: string;
  readonly cgroup?: string;
  readonly dev?: string;
}

/** Nothing is looked at before a check's own `look` is called. */
export function checksOf(surroundings: Surroundings): Check[] {
  const { directory, env, proc = "/proc", cgroup = "/sys/fs/cgroup", dev = "/dev" } = surroundings;
  const disks = [...new Set([directory, "/", "/tmp", "/dev/shm"])];
  const rpcDirs = ["/tmp/rpc-logs", "/dev/shm", "/var/tmp", "/run", env.HOME || undefined];
  return [
    flockCheck(directory, { proc }),
    squashfsCheck(surroundings),
    enrootCheck({ env }),
    dockerCheck(env),
    podmanCheck(env),
    slurmCheck(env),
    kmsgCheck({ dev }),
    psiCheck({ proc }),
    cgroupCheck({ proc, cgroup }),
    ...rpcDirs.map((path) => rpcDirCheck(path, { proc })),
    ...disks.map((path) => diskCheck(path, { proc, isSystem: path === "/" })),
    clockCheck(),
    gpuCheck({ env, dev }),
  ];
}
