/**
 * `down`: removes davit's containers of one name, or stops them with their overlay kept, and looks whether they are
 * gone. What is absent already is fine; what davit did not make is never touched.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { escapeForTerminal } from "../host/logfmt.ts";
import type { Log } from "../host/log.ts";
import type { HostFacts } from "./facts.ts";
import { gatherFacts, targetOf } from "./gather.ts";
import type { Hosts, RoundOptions } from "./hosts.ts";
import { lockAll } from "./locks.ts";
import { allOrThrow } from "./outcomes.ts";
import { type DownPlan, planDown } from "./plan_down.ts";
import { refuse } from "./plan.ts";
import type { ContainerSpec } from "./spec.ts";

/** How to go about it. */
export interface DownOptions {
  readonly owner: string;
  /** Stops instead of removing. */
  readonly isStop: boolean;
  /** Also while commands of davit run in it; they end with it. */
  readonly isForced: boolean;
  readonly graceMs: number;
  readonly lockWaitMs: number;
  /** Goes on where nothing is known of some hosts; they are told of. */
  readonly isUnknownFine: boolean;
  /** Only containers of this generation: what one call made. */
  readonly generation?: string | undefined;
  /** Instead of that of all hosts, for tidying up after an interruption. */
  readonly signal?: AbortSignal;
  readonly log: Log;
}

/** What became of one host. */
export interface DownHost {
  readonly host: string;
  readonly did: "removed" | "stopped" | "nothing" | "unknown";
  readonly id?: string;
  readonly why?: string;
}

/**
 * Acts on all hosts that are known and tells of all. Throws a Failure where something must not be touched (3), is in
 * use (75), or is still there afterwards (5).
 */
export async function down(hosts: Hosts, spec: ContainerSpec, options: DownOptions): Promise<DownHost[]> {
  const { isForced, graceMs, lockWaitMs, owner, signal, log } = options;
  const round: RoundOptions = { ...signal !== undefined && { signal }, keep: true };
  const { plan: first, facts } = await look(hosts, spec, options, round);
  const names = actingOn(first);
  if (names.length === 0) return resultsOf(hosts, first);
  const execs = names.reduce((sum, name) => sum + execsOn(facts.get(name)), 0);
  if (execs > 0 && !isForced) throw inUse(spec, execs);
  const holder = { user: owner, since: new Date().toISOString(), what: "down" };
  const lock = { name: spec.name, mode: "exclusive", waitMs: lockWaitMs, holder } as const;
  // By force the lock of the commands that are about to end is not waited for.
  await using _ = execs > 0 ? undefined : await lockAll(hosts, { ...lock, round: { ...round, names } });
  if (execs > 0) log.warn("ending the commands that run in the container", { name: spec.name, execs });
  const { plan } = await look(hosts, spec, options, { ...round, names });
  const steps = new Map(plan.steps.map((step) => [step.host, step]));
  const outcomes = await hosts.each(async (host) => {
    const step = steps.get(host.name)!;
    if (step.do === "nothing") return;
    const { id, generation } = step;
    if (step.do === "stop") {
      const timeoutMs = graceMs + ANSWER_MS;
      await host.call("stop", { ...targetOf(spec), id, graceMs }, { timeoutMs });
    } else await host.call("remove", { ...targetOf(spec), id, generation }, { timeoutMs: ANSWER_MS });
  }, { ...round, names });
  allOrThrow(`${options.isStop ? "stop" : "remove"} container "${spec.name}"`, outcomes);
  await verify(hosts, spec, plan, { ...round, names });
  const done = { ...first, steps: first.steps.map((step) => steps.get(step.host) ?? step) };
  return resultsOf(hosts, done);
}

/** How long a removal may take: one of a large overlay takes its time. */
const ANSWER_MS = 120_000;

async function look(hosts: Hosts, spec: ContainerSpec, options: DownOptions, round: RoundOptions) {
  const { owner, isStop, isUnknownFine, generation } = options;
  const facts = await gatherFacts(hosts, spec, round);
  const states = [...facts].map(([host, facts]) => ({ host, facts }));
  const plan = planDown({
    spec,
    hosts: states,
    options: { owner, stop: isStop, allowUnknown: isUnknownFine },
  });
  if (plan.kind === "refusal") throw refuse(plan);
  if (generation === undefined) return { plan, facts };
  const steps = plan.steps.map((step) =>
    step.do === "nothing" || step.generation === generation
      ? step
      : { host: step.host, do: "nothing" as const, why: "it is of another generation" }
  );
  return { plan: { ...plan, steps }, facts };
}

function actingOn({ steps }: DownPlan): string[] {
  return steps.filter((step) => step.do !== "nothing").map(({ host }) => host);
}

function execsOn(known: HostFacts | undefined): number {
  return known?.kind === "known" ? known.container?.execs ?? 0 : 0;
}

/** A removal counts when its container cannot be found any more. */
async function verify(hosts: Hosts, spec: ContainerSpec, plan: DownPlan, round: RoundOptions): Promise<void> {
  const removed = new Map(
    plan.steps.flatMap((step) => step.do === "remove" ? [[step.host, step.id] as const] : []),
  );
  const names = [...removed.keys()];
  const facts = await gatherFacts(hosts, spec, { ...round, names });
  const left = names.filter((name) => {
    const known = facts.get(name);
    return known?.kind !== "known" || known.container?.id === removed.get(name);
  });
  if (left.length === 0) return;
  throw new Failure("PARTIAL", `Cannot be sure that container "${spec.name}" is gone on ${left.join(", ")}`, {
    code: "not_removed",
    hint: "run `davit container down` again",
  });
}

function resultsOf(hosts: Hosts, { steps, unknown }: DownPlan): DownHost[] {
  const byHost = new Map(steps.map((step) => [step.host, step]));
  return hosts.names.map((host) => {
    const step = byHost.get(host);
    if (step === undefined || unknown.includes(host)) return { host, did: "unknown" };
    if (step.do === "nothing") return { host, did: "nothing", why: step.why };
    return { host, did: step.do === "stop" ? "stopped" : "removed", id: step.id };
  });
}

function inUse({ name }: ContainerSpec, execs: number): Failure {
  const commands = execs === 1 ? "1 command of davit runs" : `${execs} commands of davit run`;
  return new Failure("TEMPFAIL", `Cannot take down container "${name}": ${commands} in it`, {
    code: "in_use",
    hint: "wait for the end, or end them with --force",
  });
}

/** For people. */
export function renderDown(name: string, hosts: readonly DownHost[]): string {
  const width = Math.max(...hosts.map(({ host }) => host.length));
  const lines = hosts.map(({ host, did, why }) =>
    `  ${host.padEnd(width)}  ${did}${why === undefined ? "" : ` (${escapeForTerminal(why)})`}`
  );
  return [`${name}:`, ...lines].join("\n");
}
