/**
 * Whose memory ran out, as seen from one cgroup. The kernel prints cgroup paths from the root of the hierarchy, so
 * they can be compared only by who knows the own path from there: not inside a cgroup namespace.
 *
 * @module
 */
import type { OomEvent } from "../host/oom.ts";

/**
 * own: this cgroup's limit (or one below it); ancestor: a limit above it; other: another cgroup's; global: the
 * machine's memory; numa: the memory nodes that the victim was bound to, with memory left elsewhere.
 */
export type OomScope = "own" | "ancestor" | "other" | "global" | "numa";

/** The cgroup from which to look; undefined = not known. */
export type OwnCgroup = string | undefined;

/** The scope, or undefined when the kernel's lines do not tell. */
export function oomScope({ origin, constraint, oomMemcg }: OomEvent, own: OwnCgroup): OomScope | undefined {
  if (constraint === "CONSTRAINT_CPUSET" || constraint === "CONSTRAINT_MEMORY_POLICY") return "numa";
  if (oomMemcg === undefined) return origin === "machine" ? "global" : undefined;
  if (own === undefined) return undefined;
  if (isWithin(oomMemcg, own)) return "own";
  return isWithin(own, oomMemcg) ? "ancestor" : "other";
}

/** Whether the victim was in the own cgroup or below; undefined when that cannot be told. */
export function isOwnVictim({ taskMemcg }: OomEvent, own: OwnCgroup): boolean | undefined {
  return taskMemcg === undefined || own === undefined ? undefined : isWithin(taskMemcg, own);
}

/** Whether `path` is `top` or below it. */
export function isWithin(path: string, top: string): boolean {
  const base = top.replace(/\/+$/, "");
  return path === base || path.startsWith(`${base}/`);
}
