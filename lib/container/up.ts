/**
 * `up`: attaches where all is well, else does what the plan says, else refuses. The first look takes no lock and
 * writes nothing, so that an attach is one question to each host; everything else is decided again under the lock.
 *
 * @module
 */
import type { Activity } from "../host/activity.ts";
import type { Log } from "../host/log.ts";
import { applyPlan } from "./apply.ts";
import { attached, type UpResult } from "./attached.ts";
import { gatherFacts } from "./gather.ts";
import type { Hosts, RoundOptions } from "./hosts.ts";
import { KeptOutput } from "./kept_output.ts";
import { lockAll } from "./locks.ts";
import { type Plan, type PlanOptions, planUp, type Refusal, refuse } from "./plan.ts";
import type { ContainerSpec } from "./spec.ts";
import { canonicalSpec } from "./spec_hash.ts";

/** How `up` is to go about it. */
export interface UpOptions {
  readonly plan: PlanOptions;
  /** Leaves what was made in place when a start fails. */
  readonly keepFailed: boolean;
  /** Where scripts' output and logs are kept; a temporary directory otherwise. */
  readonly outputDir: string | undefined;
  /** For new containers; a random one otherwise. */
  readonly generation?: string;
  /** For the locks of all hosts together. */
  readonly lockWaitMs: number;
  readonly activity: Activity;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** A lock lives as long as its connection, whatever the number of hosts. */
const LOCKED: RoundOptions = { keep: true };

/** Decides and acts; throws a Failure (3, 4, 5, 75, …) otherwise. */
export async function up(hosts: Hosts, spec: ContainerSpec, options: UpOptions): Promise<UpResult> {
  const { activity, plan: planOptions, lockWaitMs, log } = options;
  const canonical = await canonicalSpec(spec);
  const look = async (round: RoundOptions = {}) => {
    activity.begin("look");
    const facts = await gatherFacts(hosts, spec, round);
    const states = [...facts].map(([host, facts]) => ({ host, facts }));
    return { facts, plan: planUp({ spec, canonical, hosts: states, options: planOptions }) };
  };
  const lock = (mode: "shared" | "exclusive") => {
    activity.begin("lock");
    const holder = { user: planOptions.owner, since: new Date().toISOString(), what: planOptions.command };
    return lockAll(hosts, { name: spec.name, mode, waitMs: lockWaitMs, holder });
  };

  let { facts, plan } = await look();
  if (isAttach(plan)) return attached(spec, plan, facts, log);
  if (plan.kind === "refusal") {
    if (plan.exit !== "REFUSED") throw refuse(plan);
    // What is refused may be another davit's work in progress: whoever changes holds the lock.
    await using _shared = await lock("shared");
    ({ facts, plan } = await look(LOCKED));
    if (isAttach(plan)) return attached(spec, plan, facts, log);
    if (plan.kind === "refusal") throw refuse(plan);
  }
  await using _exclusive = await lock("exclusive");
  ({ facts, plan } = await look(LOCKED));
  if (plan.kind === "refusal") throw refuse(plan);
  if (isAttach(plan)) return attached(spec, plan, facts, log);
  for (const warning of plan.warnings) log.warn(warning);
  await using output = new KeptOutput({ directory: options.outputDir, name: spec.name });
  const { keepFailed, signal, generation = crypto.randomUUID() } = options;
  const { owner } = planOptions;
  const work = { spec, canonical, owner, generation, keepFailed, output, activity, signal, log };
  return await applyPlan(hosts, plan, facts, work);
}

function isAttach(plan: Plan | Refusal): plan is Plan & { action: "attach" } {
  return plan.kind === "plan" && plan.action === "attach";
}
