/**
 * Which containers a command may use that changes none: running, ready and ours, or any that runs where the spec
 * or a flag says that another made it.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { Log } from "../host/log.ts";
import type { HostFacts } from "./facts.ts";
import { gatherFacts } from "./gather.ts";
import type { Hosts, RoundOptions } from "./hosts.ts";
import { type PlanOptions, planUp, refuse } from "./plan.ts";
import type { ContainerSpec } from "./spec.ts";
import { canonicalSpec } from "./spec_hash.ts";

/** What is let pass. */
export interface UseOptions {
  readonly owner: string;
  /** Containers that davit did not make are fine. */
  readonly adopt: boolean;
  /** Containers of davit without a ready mark are fine, running or not: for a look into what failed. */
  readonly isUnreadyFine: boolean;
  /** So many hosts may be unknown: they are left out, and said. */
  readonly allowMissing: number;
  /** `skip` where the spec is only a name. */
  readonly drift: NonNullable<PlanOptions["drift"]>;
  readonly log: Log;
}

/** Ids by host. Throws a {@linkcode Failure}, 3 or 4, that names every host where there is none to be used. */
export async function usableContainers(
  hosts: Hosts,
  spec: ContainerSpec,
  options: UseOptions,
  round: RoundOptions = {},
): Promise<Map<string, string>> {
  const { allowMissing, isUnreadyFine, log } = options;
  const facts = await gatherFacts(hosts, spec, round);
  const unknown = [...facts].filter(([, { kind }]) => kind === "unknown");
  if (unknown.length <= allowMissing && unknown.length < facts.size) {
    for (const [host, { why, detail }] of unknown as [string, HostFacts & { kind: "unknown" }][]) {
      facts.delete(host);
      log.warn("leaving out a host", { host, why, detail });
    }
  }
  return isUnreadyFine ? existing(spec, facts) : await joinable(spec, facts, options);
}

async function joinable(
  spec: ContainerSpec,
  facts: ReadonlyMap<string, HostFacts>,
  { owner, adopt, drift, log }: UseOptions,
): Promise<Map<string, string>> {
  const canonical = await canonicalSpec(spec);
  const plan = planUp({
    ...{ spec, canonical },
    hosts: [...facts].map(([host, facts]) => ({ host, facts })),
    options: { command: "attach", owner, adopt, drift },
  });
  if (plan.kind === "refusal") throw refuse(plan);
  for (const warning of plan.warnings) log.warn(warning);
  return new Map(plan.steps.flatMap((step) => "id" in step ? [[step.host, step.id] as const] : []));
}

function existing({ name }: ContainerSpec, facts: ReadonlyMap<string, HostFacts>): Map<string, string> {
  const ids = new Map<string, string>();
  const absent: string[] = [];
  for (const [host, known] of facts) {
    if (known.kind === "unknown") {
      throw new Failure("UNKNOWN", `Cannot look for "${name}" on "${host}": ${known.detail}`, {
        code: known.why,
      });
    }
    if (known.container === null) absent.push(host);
    else ids.set(host, known.container.id);
  }
  if (absent.length === 0) return ids;
  throw new Failure("REFUSED", `Cannot use container "${name}": there is none on ${absent.join(", ")}`, {
    code: "absent",
  });
}
