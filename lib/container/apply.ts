/**
 * Does what a plan says. Nothing is created before every host has the image and all have the same; a failure before
 * the containers run removes those that this call made, by id, and nothing else.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import type { Activity } from "../host/activity.ts";
import { escapeForTerminal } from "../host/logfmt.ts";
import type { UpResult } from "./attached.ts";
import type { ContainerFacts, HostFacts, ImageFacts } from "./facts.ts";
import { targetOf } from "./gather.ts";
import type { HostLink, Hosts } from "./hosts.ts";
import { makeLabels } from "./labels.ts";
import { allOrThrow, errorsOf, failureOf, valuesOf } from "./outcomes.ts";
import { checkDigests, type Plan, type PlanStep, refuse } from "./plan.ts";
import { provision } from "./provision.ts";
import type { Work } from "./work.ts";

/** What tidying up may take, also after an interruption. */
const TIDY_MS = 60_000;
/** How long the answer to a start may take beyond the start's own bound. */
const ANSWER_MS = 30_000;

/** Does all steps of `plan`, which was made of `facts`; the locks are held. */
export async function applyPlan(
  hosts: Hosts,
  plan: Plan,
  facts: ReadonlyMap<string, HostFacts>,
  work: Work,
): Promise<UpResult> {
  const { activity } = work;
  const generation = plan.generation ?? work.generation;
  const creating = plan.steps.filter((step) => step.do === "create" || step.do === "replace");
  const names = creating.map(({ host }) => host);
  let running: Map<string, ContainerFacts>;
  let isBegun = false;
  try {
    const ids = new Map<string, string>();
    if (creating.length > 0) {
      activity.begin("image");
      const images = await haveImages(hosts, names, work);
      const refusal = checkDigests(work.spec.name, images, plan.wantedImage);
      if (refusal !== undefined) throw refuse(refusal);
      activity.begin("create");
      await removeReplaced(hosts, creating, work);
      isBegun = true;
      for (const [name, id] of await create(hosts, images, generation, work)) ids.set(name, id);
    }
    activity.begin("start");
    running = await start(hosts, plan.steps, ids, facts, work);
  } catch (error) {
    if (isBegun) await removeMade(hosts, names, generation, work);
    throw error;
  }
  activity.begin("provision");
  await provision(hosts, { steps: plan.steps, running, generation }, work);
  const results = plan.steps.map(({ host, do: did }) => {
    const { id, startedAt } = running.get(host)!;
    return { host, did, id, startedAt };
  });
  return { action: plan.action, name: work.spec.name, generation, hosts: results };
}

async function haveImages(hosts: Hosts, names: readonly string[], { spec, activity }: Work) {
  const { image, imageTar, pull, registry, startTimeoutMs } = spec;
  const params = {
    ...targetOf(spec),
    ...{ image, pull },
    ...imageTar !== undefined && { imageTar },
    ...registry !== undefined && { registry },
  };
  const outcomes = await hosts.each((host) =>
    host.call("image", params, {
      timeoutMs: startTimeoutMs,
      onMessage: (message) => note(activity, host.name, message),
    }), { names, keep: true });
  return allOrThrow(`get image "${image}"`, outcomes);
}

/** The newest word of one host stands for what goes on. */
function note(activity: Activity, host: string, message: unknown): void {
  const { line } = (message ?? {}) as { line?: unknown };
  if (typeof line !== "string") return;
  activity.note = `${host}: ${escapeForTerminal(line.slice(0, 200))}`;
  activity.ticks++;
}

async function removeReplaced(
  hosts: Hosts,
  creating: readonly PlanStep[],
  { spec, log }: Work,
): Promise<void> {
  const olds = new Map(creating.flatMap((step) => step.do === "replace" ? [[step.host, step] as const] : []));
  if (olds.size === 0) return;
  for (const { host, id } of olds.values()) log.warn("replacing a container", { host, name: spec.name, id });
  const outcomes = await hosts.each((host) => {
    const { id, generation } = olds.get(host.name)!;
    return host.call("remove", { ...targetOf(spec), id, generation });
  }, { names: [...olds.keys()], keep: true });
  allOrThrow(`remove the old container "${spec.name}"`, outcomes);
}

async function create(
  hosts: Hosts,
  images: ReadonlyMap<string, ImageFacts>,
  generation: string,
  { spec, canonical, owner, activity }: Work,
): Promise<Map<string, string>> {
  const outcomes = await hosts.each(async (host) => {
    const image = images.get(host.name)!;
    const labels = makeLabels(spec, canonical, { owner, generation, imageDigest: image.digest });
    const params = { ...targetOf(spec), spec, labels, image };
    const { id } = await host.call("create", params, {
      onMessage: (message) => note(activity, host.name, message),
    });
    return id;
  }, { names: [...images.keys()], keep: true });
  return allOrThrow(`create container "${spec.name}"`, outcomes);
}

/** Everything that is to run runs when this returns. */
async function start(
  hosts: Hosts,
  steps: readonly PlanStep[],
  created: ReadonlyMap<string, string>,
  facts: ReadonlyMap<string, HostFacts>,
  work: Work,
): Promise<Map<string, ContainerFacts>> {
  const { spec } = work;
  const running = new Map<string, ContainerFacts>();
  const starting = new Map<string, string>();
  for (const step of steps) {
    const known = facts.get(step.host);
    const isRunning = step.do === "attach" || ("from" in step && step.from === "running");
    if (!isRunning) starting.set(step.host, created.get(step.host) ?? ("id" in step ? step.id : ""));
    else if (known?.kind === "known" && known.container !== null) running.set(step.host, known.container);
  }
  if (starting.size === 0) return running;
  const timeoutMs = spec.startTimeoutMs;
  const outcomes = await hosts.each((host) => {
    const params = { ...targetOf(spec), id: starting.get(host.name)!, timeoutMs };
    return host.call("start", params, { timeoutMs: timeoutMs + ANSWER_MS });
  }, { names: [...starting.keys()], keep: true });
  const errors = errorsOf(outcomes);
  if (errors.size > 0) {
    const directory = await keepLogs(hosts, starting, [...errors.keys()], work);
    work.log.error("the logs of what did not start are kept", { directory });
    throw failureOf(`start container "${spec.name}"`, errors, steps.length);
  }
  return new Map([...running, ...valuesOf(outcomes)]);
}

async function keepLogs(
  hosts: Hosts,
  ids: ReadonlyMap<string, string>,
  names: readonly string[],
  { spec, output, log }: Work,
): Promise<string> {
  const outcomes = await hosts.each(async (host) => {
    await using file = await output.open(host.name, "log");
    const params = { ...targetOf(spec), id: ids.get(host.name)!, follow: false };
    await host.call("logs", params, { onBytes: (_channel, bytes) => file.write(bytes) });
  }, { names, keep: true, signal: AbortSignal.timeout(TIDY_MS) });
  for (const [host, error] of errorsOf(outcomes)) {
    log.warn("cannot keep the log of a container", { host, reason: messageOf(error) });
  }
  return await output.keep();
}

/**
 * Removes what this call made. It is found by its generation, which no other call shares: a `create` whose answer
 * was lost may have made one too.
 */
async function removeMade(
  hosts: Hosts,
  names: readonly string[],
  generation: string,
  { spec, keepFailed, log }: Work,
): Promise<void> {
  if (keepFailed) {
    return log.warn("keeping what was made, as asked for", { name: spec.name, generation });
  }
  const outcomes = await hosts.each(async (host: HostLink) => {
    const found = await host.call("facts", targetOf(spec));
    if (found.kind === "unknown") throw new Failure("UNKNOWN", found.detail, { code: found.why });
    const { container } = found;
    if (container?.labels?.generation !== generation || container.ready !== undefined) return;
    await host.call("remove", { ...targetOf(spec), id: container.id, generation });
    log.info("removed what this call had made", { host: host.name, name: spec.name, id: container.id });
  }, { names, keep: true, signal: AbortSignal.timeout(TIDY_MS) });
  for (const [host, error] of errorsOf(outcomes)) {
    log.error("cannot remove what this call had made; `davit container gc` finds it later", {
      host,
      name: spec.name,
      generation,
      reason: messageOf(error),
    });
  }
}
