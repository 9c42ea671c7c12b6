/**
 * Decides whether what is there can be joined as it is: `attach`, `no_launch` and `--adopt`. Nothing is started,
 * made or removed.
 *
 * @module
 */
import {
  describeImages,
  driftOf,
  groupImages,
  imageOf,
  movedTags,
  nameImage,
  ownViews,
} from "./plan_checks.ts";
import {
  hostList,
  type HostView,
  type Plan,
  type PlanInput,
  type PlanStep,
  type Refusal,
  refusal,
} from "./plan_types.ts";
import { describeState } from "./state.ts";

/** The plan to join on every host, or why not; all hosts are known. */
export function planJoin(
  { spec, canonical, options }: PlanInput,
  views: readonly HostView[],
): Plan | Refusal {
  const isNameEnough = options.adopt === true || spec.lifetime === "no_launch";
  const reasons = new Map<string, string>();
  const steps: PlanStep[] = [];
  const warnings: string[] = [];
  const restarted: string[] = [];
  for (const { host, state } of views) {
    if (state.kind === "running") {
      const { id, ready, startedAt } = state.container;
      steps.push({ host, do: "attach", id, isOurs: true });
      if (ready?.startedAt !== startedAt) restarted.push(host);
    } else if (state.kind === "foreign" && isNameEnough && state.container.status === "running") {
      steps.push({ host, do: "attach", id: state.container.id, isOurs: false });
    } else reasons.set(host, describeState(state));
  }
  if (reasons.size > 0) return refuseJoin(spec.name, views, reasons);

  const own = ownViews(views);
  const generations = new Set(own.map(({ own: { labels } }) => labels.generation));
  if (generations.size > 1) {
    return refusal(views, {
      code: "generations_differ",
      message: `Cannot attach to "${spec.name}": its containers are of different calls`,
      hint: "`up --replace` makes it anew on all hosts: what was installed in it is lost",
    });
  }
  const unreadable = own.filter((view) => nameImage(imageOf(view.own)) === "unreadable").map(({ host }) =>
    host
  );
  if (unreadable.length > 0) {
    return refusal(views, {
      code: "digest_unreadable",
      message: `Cannot attach to "${spec.name}": its image cannot be read on ${hostList(unreadable)}`,
      hint: "`up --replace` makes it anew on all hosts: what was installed in it is lost",
    });
  }
  const images = groupImages(own.map((view) => [view.host, imageOf(view.own)] as const));
  if (images.length > 1) {
    return refusal(views, {
      code: "digests_differ",
      message: `Cannot attach to "${spec.name}": its image is not the same on all hosts: ${
        describeImages(images)
      }`,
      hint: "`up --replace` makes it anew on all hosts: what was installed in it is lost",
    });
  }
  // no_launch says how long it lives to davit, not how it was made.
  const drift = options.drift === "skip"
    ? []
    : driftOf(own, canonical).filter(({ field }) => spec.lifetime !== "no_launch" || field !== "lifetime");
  if (drift.length > 0 && !isNameEnough && options.drift !== "warn") {
    return refusal(views, {
      code: "drift",
      message: `Cannot attach to "${spec.name}": it was made from another spec`,
      hint:
        "--ignore-drift takes it as it is; `up --replace` makes it anew: what was installed in it is lost",
      differences: drift,
    });
  }
  if (drift.length > 0) {
    warnings.push(`it was made from another spec: ${drift.map(({ field }) => field).join(", ")}`);
  } else warnings.push(...movedTags(spec, own));
  if (restarted.length > 0 && (spec.everyStart ?? spec.sshd) !== undefined) {
    warnings.push(
      `it was started by other hands on ${hostList(restarted)}: its start script and sshd did not run`,
    );
  }
  const foreign = steps.flatMap((step) => step.do === "attach" && !step.isOurs ? [step.host] : []);
  if (foreign.length > 0) {
    warnings.push(`it was not made by davit on ${hostList(foreign)}: it is joined by its name`);
  }
  const [generation] = generations;
  return {
    kind: "plan",
    action: "attach",
    name: spec.name,
    steps,
    warnings,
    differences: drift,
    ...generation !== undefined && { generation },
  };
}

function refuseJoin(name: string, views: readonly HostView[], reasons: ReadonlyMap<string, string>): Refusal {
  const told = [...Map.groupBy(reasons, ([, reason]) => reason)]
    .map(([reason, rows]) => `${reason} on ${hostList(rows.map(([host]) => host))}`);
  const isForeign = views.some(({ state }) =>
    state.kind === "foreign" && state.container.status === "running"
  );
  return refusal(views, {
    code: isForeign ? "foreign" : "not_running",
    message: `Cannot attach to "${name}": it is ${told.join("; ")}`,
    hint: isForeign
      ? "--adopt joins it as it is, and never stops or removes it"
      : "attach joins what runs; `davit container up` starts or makes it",
    reasons,
  });
}
