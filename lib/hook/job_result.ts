/**
 * Puts together what the protocol tells of a job that has ended.
 *
 * @module
 */
import { type ChildUsage, usageOfChildren } from "../host/child_usage.ts";
import type { ChildEnd } from "../host/process.ts";
import type { Verdict } from "./cause.ts";
import type { Result, Survivor } from "./protocol.ts";
import type { Spool } from "./spool.ts";

/** What a job used. */
export type JobUsage = Pick<Result, "user_ms" | "system_ms" | "max_rss_kb">;

/** All that is known of it. */
export interface ResultFacts extends Verdict, ChildEnd, Partial<JobUsage> {
  readonly id: string;
  /** Since the epoch. */
  readonly startedMs: number;
  readonly wallMs: number;
  readonly survivors: readonly Survivor[];
  readonly spool: Spool;
  readonly rpcDir: string;
  readonly notices: readonly string[];
}

/** The result in the form that clients get. */
export function resultOf({ spool, startedMs, ...facts }: ResultFacts): Result {
  const wallMs = Math.round(facts.wallMs);
  return {
    schema: 1,
    id: facts.id,
    code: facts.code,
    signal: facts.signal,
    cause: facts.cause,
    fault: facts.fault,
    evidence: facts.evidence,
    started: new Date(startedMs).toISOString(),
    ended: new Date(startedMs + wallMs).toISOString(),
    wall_ms: wallMs,
    user_ms: facts.user_ms ?? null,
    system_ms: facts.system_ms ?? null,
    max_rss_kb: facts.max_rss_kb ?? null,
    stdout_bytes: spool.stdoutBytes,
    stderr_bytes: spool.stderrBytes,
    dropped_bytes: spool.droppedBytes,
    survivors: facts.survivors,
    rpc_dir: facts.rpcDir,
    notices: [...facts.notices],
  };
}

/** Times by the sum over all children, which has adopted ones too; the peak by the child's own account. */
export function usageSince(before: ChildUsage | undefined, own: ChildUsage | undefined): Partial<JobUsage> {
  const after = usageOfChildren();
  if (before === undefined || after === undefined) return {};
  const hasGrown = after.maxRssKb > before.maxRssKb;
  return {
    user_ms: Math.round(after.userMs - before.userMs),
    system_ms: Math.round(after.systemMs - before.systemMs),
    max_rss_kb: own?.maxRssKb ?? (hasGrown ? after.maxRssKb : null),
  };
}
