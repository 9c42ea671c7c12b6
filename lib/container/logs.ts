/**
 * `logs`: what the containers' own commands print, running or not, ready or not.
 *
 * @module
 */
import { targetOf } from "./gather.ts";
import type { Hosts } from "./hosts.ts";
import { allOrThrow } from "./outcomes.ts";
import type { ContainerSpec } from "./spec.ts";
import { usableContainers, type UseOptions } from "./usable.ts";

/** Which part of them. */
export interface LogsOptions extends UseOptions {
  /** Only so many of the last lines. */
  readonly tail?: number | undefined;
  readonly isFollowing: boolean;
  readonly onOutput: (host: string, channel: number, bytes: Uint8Array) => void | Promise<void>;
}

/** Hands the logs on; rejects with a Failure that names every host whose log could not be had. */
export async function showLogs(hosts: Hosts, spec: ContainerSpec, options: LogsOptions): Promise<void> {
  const { tail, isFollowing, onOutput } = options;
  const containers = await usableContainers(hosts, spec, { ...options, isUnreadyFine: true });
  const names = [...containers.keys()];
  const outcomes = await hosts.each((host) => {
    const id = containers.get(host.name)!;
    const params = { ...targetOf(spec), id, follow: isFollowing, ...tail !== undefined && { tail } };
    return host.call("logs", params, {
      ...isFollowing && { timeoutMs: Infinity },
      onBytes: (channel, bytes) => onOutput(host.name, channel, bytes),
    });
  }, { names, ...isFollowing && { keep: true, parallel: names.length } });
  allOrThrow(`read the log of container "${spec.name}"`, outcomes);
}
