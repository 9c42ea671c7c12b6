/**
 * `gc`: finds what nobody will ask for any more: leases that have run out, containers that never became ready, and
 * what a `run` left behind. Only looks, unless told to remove.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import { escapeForTerminal } from "../host/logfmt.ts";
import type { Log } from "../host/log.ts";
import { formatDuration } from "../units.ts";
import type { ContainerFacts } from "./facts.ts";
import type { Target } from "./host_methods.ts";
import type { HostLink, Hosts, Outcome } from "./hosts.ts";
import { lockExclusiveNow } from "./locks.ts";

/** Whose, how old, and whether to act. */
export interface GcOptions {
  readonly target: Omit<Target, "name">;
  /** Undefined: everybody's. */
  readonly owner: string | undefined;
  readonly user: string;
  /** What is not ready, or is left of a run, counts when it is older than this. */
  readonly olderThanMs: number;
  readonly isApplied: boolean;
  readonly nowMs: number;
  readonly log: Log;
}

/** One container that may go. */
export interface GcFind {
  readonly host: string;
  readonly name: string;
  readonly id: string;
  readonly owner: string;
  readonly why: "lease expired" | "never ready" | "left of a run";
  readonly ageMs: number;
  readonly isRemoved: boolean;
}

type Listed = ContainerFacts & { readonly name: string };

/** What is found on each host, or why nothing is known of it. */
export async function gc(hosts: Hosts, options: GcOptions): Promise<Map<string, Outcome<GcFind[]>>> {
  const { target, owner } = options;
  return await hosts.each(async (host) => {
    const params = { ...target, ...owner !== undefined && { owner } };
    const { containers } = await host.call("list", params);
    const finds: GcFind[] = [];
    for (const container of containers) {
      const why = reasonToRemove(container, options);
      if (why === undefined) continue;
      const isRemoved = options.isApplied && await remove(host, container, options);
      const { name, id, labels } = container;
      const ageMs = options.nowMs - lastUseMs(container);
      finds.push({ host: host.name, name, id, owner: labels!.owner, why, ageMs, isRemoved });
    }
    return finds;
  });
}

/** Why one may go; undefined: it stays. What davit's commands run in is never one. */
export function reasonToRemove(
  container: Listed,
  { olderThanMs, nowMs }: Pick<GcOptions, "olderThanMs" | "nowMs">,
): GcFind["why"] | undefined {
  const { labels, ready, execs } = container;
  const ageMs = nowMs - lastUseMs(container);
  if (labels === undefined || execs > 0 || Number.isNaN(ageMs)) return undefined;
  const leaseMs = Number(labels.leaseMs);
  if (leaseMs > 0 && ageMs > leaseMs) return "lease expired";
  if (ageMs <= olderThanMs) return undefined;
  if (ready === undefined) return "never ready";
  return labels.lifetime === "per_run" ? "left of a run" : undefined;
}

function lastUseMs({ lastUsedAt, createdAt }: Listed): number {
  return Date.parse(lastUsedAt ?? createdAt);
}

async function remove(host: HostLink, { name, id, labels }: Listed, options: GcOptions): Promise<boolean> {
  const { target, user, log } = options;
  try {
    // Whoever works on it now knows better.
    if (!await lockExclusiveNow(host, name, { owner: user, what: "gc" })) return false;
    const params = { ...target, name, id, generation: labels!.generation };
    const { removed } = await host.call("remove", params, { timeoutMs: REMOVE_MS });
    await host.call("unlock", { name });
    return removed;
  } catch (error) {
    log.error("cannot remove a container", { host: host.name, name, id, reason: messageOf(error) });
    return false;
  }
}

const REMOVE_MS = 120_000;

/** For people. */
export function renderGc(finds: readonly GcFind[], isApplied: boolean): string {
  if (finds.length === 0) return "nothing to remove";
  const lines = finds.map(({ host, name, id, owner, why, ageMs, isRemoved }) => {
    const what = isRemoved ? "removed" : isApplied ? "kept, it is in use" : "would be removed";
    const age = `unused for ${formatDuration(ageMs)}`;
    return escapeForTerminal(`${host}  ${name}  ${id.slice(0, 12)}  of ${owner}: ${why}, ${age}; ${what}`);
  });
  return [...lines, ...isApplied ? [] : ["nothing was removed; --apply does"]].join("\n");
}
