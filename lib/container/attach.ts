/**
 * `attach`: joins what runs, or refuses. It takes no lock and changes nothing, ever.
 *
 * @module
 */
import type { Log } from "../host/log.ts";
import { gatherFacts } from "./gather.ts";
import type { Hosts } from "./hosts.ts";
import { type PlanOptions, planUp, refuse } from "./plan.ts";
import type { ContainerSpec } from "./spec.ts";
import { canonicalSpec } from "./spec_hash.ts";
import { attached, type UpResult } from "./attached.ts";

/** Looks on all hosts; throws the refusal, 3 or 4, as a Failure. */
export async function attach(
  hosts: Hosts,
  spec: ContainerSpec,
  { plan: options, log }: { plan: PlanOptions; log: Log },
): Promise<UpResult> {
  const facts = await gatherFacts(hosts, spec);
  const states = [...facts].map(([host, facts]) => ({ host, facts }));
  const plan = planUp({ spec, canonical: await canonicalSpec(spec), hosts: states, options });
  if (plan.kind === "refusal") throw refuse(plan);
  return attached(spec, plan, facts, log);
}
