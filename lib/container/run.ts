/**
 * `run`: up, exec, and down of what it made, whatever happened in between. This is the `per_run` lifetime; what is
 * persistent, or another's, is left as it is.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import { type ExecHost, execOnHosts, type ExecOptions } from "./exec.ts";
import { down } from "./down.ts";
import type { Hosts } from "./hosts.ts";
import { unlockAll } from "./locks.ts";
import type { ContainerSpec } from "./spec.ts";
import { up, type UpOptions } from "./up.ts";

/** How to go about its two parts. */
export interface RunOptions {
  readonly up: UpOptions;
  readonly exec: ExecOptions;
  /** Told when the containers are ready and the command is about to run. */
  readonly onUp: () => void;
}

/** What removing may take in all, also after an interruption. */
const DOWN_MS = 300_000;

/** Runs the command; its results, as of `exec`. */
export async function runOnce(hosts: Hosts, spec: ContainerSpec, options: RunOptions): Promise<ExecHost[]> {
  // Ours from the start: what a failed or interrupted `up` leaves is found by it, and nothing else is.
  const generation = crypto.randomUUID();
  let hasFailed = true;
  try {
    await up(hosts, spec, { ...options.up, generation });
    options.onUp();
    const results = await execOnHosts(hosts, spec, options.exec);
    hasFailed = false;
    return results;
  } finally {
    if (spec.lifetime === "per_run") await removeMade(hosts, spec, options.up, { generation, hasFailed });
  }
}

async function removeMade(
  hosts: Hosts,
  spec: ContainerSpec,
  { plan: { owner }, lockWaitMs, log }: UpOptions,
  { generation, hasFailed }: { generation: string; hasFailed: boolean },
): Promise<void> {
  const signal = AbortSignal.timeout(DOWN_MS);
  const ways = { isStop: false, isForced: true, isUnknownFine: true, graceMs: 5_000 };
  try {
    await unlockAll(hosts, spec.name, hosts.names); // the command's own
    const results = await down(hosts, spec, { ...ways, owner, generation, lockWaitMs, signal, log });
    const unknown = results.filter(({ did }) => did === "unknown").map(({ host }) => host);
    if (unknown.length > 0) log.error(LEFT, { name: spec.name, generation, hosts: unknown.join(",") });
  } catch (error) {
    // What the command or `up` failed with is the reason to tell; without one this is.
    if (!hasFailed) throw error;
    log.error(LEFT, { name: spec.name, generation, reason: messageOf(error) });
  }
}

const LEFT = "cannot tell whether what this run made is gone; `davit container gc` finds it";
