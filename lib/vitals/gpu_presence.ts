/**
 * Whether this machine has GPUs to ask about, found without waking or waiting for one.
 *
 * @module
 */
import { amdCards } from "./gpu_amd.ts";

/** How many of each vendor. */
export interface GpuCounts {
  readonly nvidia: number;
  readonly amd: number;
}

/** Counts device nodes (a container has those that it was given) and sysfs cards. */
export function findGpus({ dev = "/dev", sys = "/sys" }: { dev?: string; sys?: string } = {}): GpuCounts {
  return { nvidia: nvidiaNodes(dev), amd: amdCards(sys).length };
}

function nvidiaNodes(dev: string): number {
  try {
    return [...Deno.readDirSync(dev)].filter(({ name }) => /^nvidia\d+$/.test(name)).length;
  } catch {
    return 0; // no /dev that can be listed: no GPU that could be used
  }
}
