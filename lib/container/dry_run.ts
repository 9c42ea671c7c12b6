/**
 * What `up` would do now: one look at all hosts, without a lock.
 *
 * @module
 */
import { gatherFacts } from "./gather.ts";
import type { Hosts } from "./hosts.ts";
import { type Plan, type PlanOptions, planUp, type Refusal } from "./plan.ts";
import type { ContainerSpec } from "./spec.ts";
import { canonicalSpec } from "./spec_hash.ts";

/** The plan, or the refusal. */
export async function dryRun(
  hosts: Hosts,
  spec: ContainerSpec,
  options: PlanOptions,
): Promise<Plan | Refusal> {
  const states = [...await gatherFacts(hosts, spec)].map(([host, facts]) => ({ host, facts }));
  return planUp({ spec, canonical: await canonicalSpec(spec), hosts: states, options });
}
