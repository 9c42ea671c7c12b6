/**
 * Asks every host for its facts, in one round. What cannot be known is a fact, too.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import type { HostFacts } from "./facts.ts";
import type { Target } from "./host_methods.ts";
import type { Hosts, RoundOptions } from "./hosts.ts";
import { whyUnknown } from "./outcomes.ts";
import type { ContainerSpec } from "./spec.ts";

/** Which container, by which runtime. */
export function targetOf({ runtime, sudo, name }: ContainerSpec): Target {
  return { runtime, sudo, name };
}

/** The facts by host, in the hosts' order. Rejects only when the round's signal is aborted, or for a bug. */
export async function gatherFacts(
  hosts: Hosts,
  spec: ContainerSpec,
  round: RoundOptions = {},
): Promise<Map<string, HostFacts>> {
  const params = { ...targetOf(spec), image: spec.image };
  const outcomes = await hosts.each((host) => host.call("facts", params), round);
  return new Map([...outcomes].map(([name, outcome]) => {
    if (outcome.isDone) return [name, outcome.value];
    const why = whyUnknown(outcome.error);
    if (why === undefined) throw outcome.error;
    return [name, { kind: "unknown", why, detail: messageOf(outcome.error) }];
  }));
}
