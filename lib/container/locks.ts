/**
 * The lock of one container on all its hosts. First all are tried at once without waiting; where one is busy,
 * they are taken one after the other in sorted order, which no two davits can deadlock on.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { LockHolder } from "./host_methods.ts";
import type { HostLink, Hosts, RoundOptions } from "./hosts.ts";
import { allOrThrow } from "./outcomes.ts";

/** Which lock, and who asks. */
export interface LockOptions {
  readonly name: string;
  readonly mode: "exclusive" | "shared";
  /** For all hosts together. */
  readonly waitMs: number;
  readonly holder: Omit<LockHolder, "pid" | "host">;
  /** Only these hosts; another signal. */
  readonly round?: Pick<RoundOptions, "names" | "signal">;
}

/** Takes it everywhere or throws: a {@linkcode Failure} (75, `busy`) names the holder. Disposing frees it. */
export async function lockAll(hosts: Hosts, options: LockOptions): Promise<AsyncDisposable> {
  const { name, waitMs, round = {} } = options;
  const names = round.names ?? hosts.names;
  const deadline = performance.now() + waitMs;
  const tries = await hosts.each((host) => lock(host, options, 0), { ...round, keep: true });
  const first = allOrThrow(`lock "${name}"`, tries);
  if ([...first.values()].some(({ kind }) => kind === "busy")) {
    await unlockAll(hosts, name, names);
    for (const host of [...names].sort()) {
      const leftMs = Math.max(0, Math.round(deadline - performance.now()));
      const one = { ...round, keep: true, names: [host] };
      const tried = await hosts.each((link) => lock(link, options, leftMs), one);
      const result = allOrThrow(`lock "${name}" on "${host}"`, tried).get(host)!;
      if (result.kind === "held") continue;
      await unlockAll(hosts, name, names);
      throw busy(host, options, result.holder);
    }
  }
  return { [Symbol.asyncDispose]: () => unlockAll(hosts, name, names) };
}

/** Takes it shared on one host, for what runs in the container. */
export async function lockShared(
  host: HostLink,
  name: string,
  { lockWaitMs: waitMs, owner: user }: { readonly lockWaitMs: number; readonly owner: string },
): Promise<void> {
  const holder = { user, since: new Date().toISOString(), what: "exec" };
  const options = { name, mode: "shared", waitMs, holder } as const;
  const result = await lock(host, options, waitMs);
  if (result.kind === "busy") throw busy(host.name, options, result.holder);
}

async function lock(host: HostLink, options: LockOptions, waitMs: number) {
  const { name, mode, holder } = options;
  return await host.call("lock", { name, mode, waitMs, holder }, { timeoutMs: waitMs + LOCK_ANSWER_MS });
}

/** How long after the wait an answer may take. */
const LOCK_ANSWER_MS = 60_000;
const UNLOCK_MS = 10_000;

/** Gives it back. A host that does not answer has lost its connection or loses it at our end, and the lock with it. */
export async function unlockAll(hosts: Hosts, name: string, names: readonly string[]): Promise<void> {
  const signal = AbortSignal.timeout(UNLOCK_MS); // also after an interruption
  await hosts.each((host) => host.call("unlock", { name }), { keep: true, signal, names });
}

function busy(host: string, { name, waitMs }: LockOptions, holder: LockHolder | null): Failure {
  const who = holder === null
    ? "somebody who left no name"
    : `${holder.what} of ${holder.user}, process ${holder.pid} on ${holder.host} since ${holder.since}`;
  return new Failure(
    "TEMPFAIL",
    `Cannot lock "${name}" on "${host}" within ${waitMs / 1000} s: it is held by ${who}`,
    { code: "busy", hint: "try again, or wait longer with --lock-wait" },
  );
}

/** Takes it alone on one host if nobody holds it; false: somebody does. */
export async function lockExclusiveNow(
  host: HostLink,
  name: string,
  { owner: user, what }: { readonly owner: string; readonly what: string },
): Promise<boolean> {
  const holder = { user, since: new Date().toISOString(), what };
  return (await lock(host, { name, mode: "exclusive", waitMs: 0, holder }, 0)).kind === "held";
}
