/**
 * What `up` and `attach` tell of containers that they joined, or made.
 *
 * @module
 */
import type { Log } from "../host/log.ts";
import type { HostFacts } from "./facts.ts";
import type { Plan, PlanStep } from "./plan.ts";
import type { ContainerSpec } from "./spec.ts";

/** One host. */
export interface AppliedHost {
  readonly host: string;
  /** What was done there. */
  readonly did: PlanStep["do"];
  readonly id: string;
  readonly startedAt: string;
}

/** All of them. */
export interface UpResult {
  readonly action: Plan["action"];
  readonly name: string;
  /** Undefined where davit did not make the containers. */
  readonly generation: string | undefined;
  readonly hosts: readonly AppliedHost[];
}

/** The result of a plan with nothing to do. */
export function attached(
  { name }: ContainerSpec,
  plan: Plan,
  facts: ReadonlyMap<string, HostFacts>,
  log: Log,
): UpResult {
  for (const warning of plan.warnings) log.warn(warning);
  let generation: string | undefined;
  const hosts = plan.steps.map(({ host, do: did }) => {
    const known = facts.get(host);
    const container = known?.kind === "known" ? known.container : null;
    generation ??= container?.labels?.generation;
    return { host, did, id: container?.id ?? "", startedAt: container?.startedAt ?? "" };
  });
  return { action: plan.action, name, generation, hosts };
}

/** For people: a headline and a line a host. */
export function renderUp({ action, name, generation, hosts }: UpResult): string {
  const width = Math.max(...hosts.map(({ host }) => host.length));
  const lines = hosts.map(({ host, did, id, startedAt }) =>
    `  ${host.padEnd(width)}  ${did.padEnd(9)}  ${
      id.replace(/^sha256:/, "").slice(0, 12)
    }  since ${startedAt}`
  );
  return [`${name}: ${action}, generation ${generation ?? "none (not davit's)"}`, ...lines].join("\n");
}
