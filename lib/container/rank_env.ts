/**
 * Variables by which programs on several hosts find each other, in the words of torchrun and MPI launchers.
 *
 * @module
 */
import type { SpecHost } from "./spec.ts";

/** One rank a host: RANK and NODE_RANK, WORLD_SIZE and NNODES, LOCAL_RANK 0, MASTER_ADDR, and all hosts. */
export function rankEnv(
  hosts: readonly SpecHost[],
  names: readonly string[],
  own: string,
): Record<string, string> {
  const addresses = new Map(hosts.map(({ name, address }) => [name, address]));
  const ranked = names.map((name) => addresses.get(name) ?? name);
  const rank = String(names.indexOf(own));
  return {
    RANK: rank,
    NODE_RANK: rank,
    LOCAL_RANK: "0",
    WORLD_SIZE: String(names.length),
    NNODES: String(names.length),
    MASTER_ADDR: ranked[0]!,
    DAVIT_HOST: own,
    DAVIT_HOSTS: names.join(","),
    DAVIT_ADDRESSES: ranked.join(","),
  };
}
