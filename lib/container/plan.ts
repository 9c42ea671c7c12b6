/**
 * Decides what `up`, `run` and `attach` do, from the spec and the facts of all hosts. Pure; where anything is unclear
 * on any host, nothing is done on all of them.
 *
 * @module
 */
import type { FieldDifference } from "./diff.ts";
import { provisionOf } from "./labels.ts";
import {
  describeImages,
  driftOf,
  groupImages,
  imageOf,
  movedTags,
  nameImage,
  type OwnView,
  ownViews,
} from "./plan_checks.ts";
import { planJoin } from "./plan_join.ts";
import {
  hostList,
  type HostView,
  type Plan,
  type PlanInput,
  type PlanStep,
  type Refusal,
  refusal,
  refuseUnknown,
  viewsOf,
} from "./plan_types.ts";
import type { ContainerSpec } from "./spec.ts";
import { describeState } from "./state.ts";

export { checkDigests } from "./plan_checks.ts";
export { type HostInput, type Plan, type PlanInput, type PlanOptions, type PlanStep } from "./plan_types.ts";
export { type Refusal, refuse } from "./plan_types.ts";

/** The plan, or why there is none. */
export function planUp(input: PlanInput): Plan | Refusal {
  const { spec, hosts, options } = input;
  const { command, adopt = false } = options;
  const views = viewsOf(hosts, { owner: options.owner, name: spec.name });
  if (command === "up" && spec.lifetime === "per_run") {
    return refusal(views, {
      exit: "USAGE",
      code: "per_run",
      message: `Cannot bring up "${spec.name}": its lifetime is per_run, it lives as long as one \`run\``,
      hint: "use `davit container run -f SPEC -- COMMAND`, or lifetime: persistent",
    });
  }
  const unknown = refuseUnknown(spec.name, views);
  if (unknown !== undefined) return unknown;
  if (command === "attach" || spec.lifetime === "no_launch" || adopt) return planJoin(input, views);
  const foreign = refuseForeign(spec, views);
  if (foreign !== undefined) return foreign;
  const own = ownViews(views);
  if (own.length === 0) return planCreate(spec, views);
  return spec.lifetime === "per_run" ? planRun(input, views, own) : planKept(input, views, own);
}

function refuseForeign(spec: ContainerSpec, views: readonly HostView[]): Refusal | undefined {
  const foreign = views.filter(({ state }) => state.kind === "foreign");
  if (foreign.length === 0) return undefined;
  const told = [...Map.groupBy(foreign, ({ state }) => describeState(state))]
    .map(([state, rows]) => `${state} on ${hostList(rows.map(({ host }) => host))}`);
  return refusal(views, {
    code: "foreign",
    message: `Cannot use the name "${spec.name}": there is a container that is not yours: ${told.join("; ")}`,
    hint: "use another --name; --adopt joins it as it is, and never stops or removes it",
    reasons: new Map(foreign.map(({ host, state }) => [host, describeState(state)])),
  });
}

/** All absent. */
function planCreate(spec: ContainerSpec, views: readonly HostView[]): Plan | Refusal {
  const images = views.flatMap(({ host, facts }) =>
    facts.kind === "known" && facts.image !== null ? [[host, facts.image] as const] : []
  );
  const groups = groupImages(images);
  if (spec.pull !== "always" && groups.length > 1) {
    return refusal(views, {
      code: "digests_differ",
      message: `Cannot create "${spec.name}": ${spec.image} is not the same on all hosts: ${
        describeImages(groups)
      }`,
      hint: "use --pull always, or an image by its digest (IMAGE@sha256:…)",
      reasons: new Map(images.map(([host, image]) => [host, nameImage(image)])),
    });
  }
  const has = new Set(images.map(([host]) => host));
  const lacking = views.map(({ host }) => host).filter((host) => !has.has(host));
  if (spec.pull === "never" && spec.imageTar === undefined && lacking.length > 0) {
    return refusal(views, {
      code: "image_missing",
      message: `Cannot create "${spec.name}": pull is never, and ${spec.image} is missing on ${
        hostList(lacking)
      }`,
      hint: "load it there, give --image-tar, or use --pull missing",
      reasons: new Map(lacking.map((host) => [host, "the image is missing"])),
    });
  }
  return plan(spec, "create", views.map(({ host }) => ({ host, do: "create" })));
}

/** A container of a run that still goes, or was killed: never joined, as the end of that run removes it. */
function planRun(
  { spec, options }: PlanInput,
  views: readonly HostView[],
  own: readonly OwnView[],
): Plan | Refusal {
  const kept = own.filter(({ own: { labels } }) => labels.lifetime !== "per_run");
  if (kept.length === 0 && options.replace) return planReplace(spec, views, []);
  const names = hostList(own.map(({ host }) => host));
  return refusal(views, {
    code: kept.length > 0 ? "persistent" : "exists",
    message: kept.length > 0
      ? `Cannot run in "${spec.name}": it is ${
        kept[0]!.own.labels.lifetime
      } on ${names}, and per_run would remove it`
      : `Cannot run in "${spec.name}": another run has it on ${names}, or one was killed and left it`,
    hint: kept.length > 0
      ? "use `exec`, lifetime: persistent, or another --name"
      : "use another --name; `down` or --replace takes away what a killed run left",
    reasons: new Map(own.map(({ host, state }) => [host, describeState(state)])),
  });
}

interface Problem {
  readonly code: string;
  readonly message: string;
  /** Short, by host. */
  readonly reasons: ReadonlyMap<string, string>;
}

/** A persistent set of which at least one host has a container of ours. */
function planKept(input: PlanInput, views: readonly HostView[], own: readonly OwnView[]): Plan | Refusal {
  const { spec, canonical, options } = input;
  const absent = views.filter(({ state }) => state.kind === "absent").map(({ host }) => host);
  // Making more of them from another spec would leave a set of two kinds: then no option takes it as it is.
  const drift = options.drift === "skip" && absent.length === 0 ? [] : driftOf(own, canonical);
  const isDriftFine = options.drift === "warn" && absent.length === 0;
  const problems = findProblems(spec, own, { drift, isDriftFine });
  if (problems.length > 0) {
    if (options.replace) return planReplace(spec, views, drift);
    const [first] = problems;
    return refusal(views, {
      code: first!.code,
      message: `Cannot bring up "${spec.name}": ${problems.map(({ message }) => message).join("; ")}`,
      hint: first!.code === "drift" && absent.length === 0
        ? "--replace removes it and makes it anew (what was installed in it is lost), --ignore-drift keeps it as it is"
        : "--replace removes it on all hosts and makes it anew: what was installed in it is lost",
      reasons: reasonsOf(problems),
      differences: drift,
    });
  }
  const isNoneReady = own.every(({ state }) => state.kind === "unready");
  // What was never ready is half of an `up` that died: completing it takes nothing away.
  if (absent.length > 0 && !isNoneReady && !options.fill) {
    const names = hostList(own.map(({ host }) => host));
    return refusal(views, {
      code: "some_absent",
      message: `Cannot bring up "${spec.name}": it is absent on ${hostList(absent)} while ${names} ${
        own.length === 1 ? "has" : "have"
      } it`,
      hint: `--fill makes it on ${
        hostList(absent)
      } only, from the same image; what the others have is left as it is`,
      reasons: new Map(absent.map((host) => [host, "absent"])),
    });
  }
  const steps = views.map(({ host }): PlanStep => {
    const found = own.find((view) => view.host === host);
    return found === undefined ? { host, do: "create" } : stepFor(spec, found);
  });
  const started = steps.filter((step) => "from" in step && step.from !== "running").map(({ host }) => host);
  if (options.noStart && started.length > 0) {
    return refusal(views, {
      code: "not_running",
      message: `Cannot bring up "${spec.name}": it does not run on ${
        hostList(started)
      }, and --no-start was given`,
      hint: "without --no-start it is started, and keeps what was installed in it",
      reasons: new Map(started.map((host) => [host, "does not run"])),
    });
  }
  const action = absent.length > 0
    ? isNoneReady ? "resume" : "fill"
    : (["provision", "start"] as const).find((what) => steps.some((step) => step.do === what)) ?? "attach";
  const warnings = drift.some(({ field }) => field === "image") ? [] : movedTags(spec, own);
  if (drift.length > 0) {
    warnings.unshift(`it was made from another spec: ${drift.map(({ field }) => field).join(", ")}`);
  }
  return {
    ...plan(spec, action, steps),
    generation: own[0]!.own.labels.generation,
    ...absent.length > 0 && { wantedImage: imageOf(own[0]!.own) },
    warnings,
    differences: drift,
  };
}

function findProblems(
  spec: ContainerSpec,
  own: readonly OwnView[],
  { drift, isDriftFine }: { drift: readonly FieldDifference[]; isDriftFine: boolean },
): Problem[] {
  const problems: Problem[] = [];
  const add = (code: string, message: string, views: readonly OwnView[], reason: (view: OwnView) => string) =>
    void problems.push({ code, message, reasons: new Map(views.map((view) => [view.host, reason(view)])) });
  const list = (views: readonly OwnView[]) => hostList(views.map(({ host }) => host));
  const generations = Map.groupBy(own, (view) => view.own.labels.generation);
  if (generations.size > 1) {
    const told = [...generations.values()].map(list).join(" | ");
    add(
      "generations_differ",
      `its containers are of different calls: ${told}`,
      own,
      ({ own: { labels } }) => `generation ${labels.generation}`,
    );
  }
  const unreadable = own.filter((view) => nameImage(imageOf(view.own)) === "unreadable");
  const images = groupImages(own.map((view) => [view.host, imageOf(view.own)] as const));
  if (unreadable.length > 0) {
    add(
      "digest_unreadable",
      `its image cannot be read on ${list(unreadable)}`,
      unreadable,
      () => "image unreadable",
    );
  } else if (images.length > 1) {
    add(
      "digests_differ",
      `its image is not the same on all hosts: ${describeImages(images)}`,
      own,
      (view) => `made from ${nameImage(imageOf(view.own))}`,
    );
  }
  const stale = own.filter(({ state, own: { labels } }) =>
    state.kind === "unready" && labels.provision !== provisionOf(spec)
  );
  if (stale.length > 0) {
    const message = `it was never provisioned to the end on ${list(stale)}, and the setup script is another`;
    add("provision_changed", message, stale, () => "the setup script is another");
  }
  if (drift.length > 0 && !isDriftFine) {
    add("drift", "it was made from another spec", own, () => "another spec");
  }
  const dead = own.filter(({ state }) => state.kind === "dead");
  if (dead.length > 0) {
    const told = hostList(dead.map(({ host, own: { status } }) => `${status} on ${host}`));
    add("dead", `the runtime can do nothing with it: ${told}`, dead, ({ own: { status } }) => status);
  }
  return problems;
}

function reasonsOf(problems: readonly Problem[]): Map<string, string> {
  const all = problems.flatMap(({ reasons }) => [...reasons]);
  return new Map(
    [...Map.groupBy(all, ([host]) => host)].map(([host, rows]) => [
      host,
      rows.map(([, reason]) => reason).join("; "),
    ]),
  );
}

function stepFor(spec: ContainerSpec, { host, state, own }: OwnView): PlanStep {
  const { id, status, ready, startedAt } = own;
  const from = status === "running" ? "running" : status === "paused" ? "paused" : "stopped";
  if (state.kind === "unready") return { host, do: "provision", id, from };
  if (from !== "running") return { host, do: "start", id, from };
  // By a restart policy, or by hand: what runs at each start has not.
  const isBare = ready?.startedAt !== startedAt && (spec.everyStart !== undefined || spec.sshd !== undefined);
  return isBare ? { host, do: "start", id, from } : { host, do: "attach", id, isOurs: true };
}

function planReplace(
  spec: ContainerSpec,
  views: readonly HostView[],
  differences: readonly FieldDifference[],
): Plan {
  const own = ownViews(views);
  const steps = views.map(({ host }): PlanStep => {
    const found = own.find((view) => view.host === host)?.own;
    return found === undefined
      ? { host, do: "create" }
      : { host, do: "replace", id: found.id, generation: found.labels.generation };
  });
  const execs = own.reduce((sum, view) => sum + view.own.execs, 0);
  const warnings = execs > 0 ? [`${execs} of davit's commands run in it`] : [];
  return { ...plan(spec, "replace", steps), warnings, differences };
}

function plan(spec: ContainerSpec, action: Plan["action"], steps: readonly PlanStep[]): Plan {
  return { kind: "plan", action, name: spec.name, steps, warnings: [], differences: [] };
}
