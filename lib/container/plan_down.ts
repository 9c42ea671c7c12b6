/**
 * Decides what `down` takes away: containers of ours by their id and generation, nothing else.
 *
 * @module
 */
import { ownViews } from "./plan_checks.ts";
import {
  type HostInput,
  hostList,
  type Refusal,
  refusal,
  refuseUnknown,
  unknownCauses,
  viewsOf,
} from "./plan_types.ts";
import type { ContainerSpec } from "./spec.ts";
import { describeState } from "./state.ts";

/** What is to be done on one host. */
export type DownStep =
  | {
    readonly host: string;
    readonly do: "remove" | "stop";
    readonly id: string;
    readonly generation: string;
  }
  | { readonly host: string; readonly do: "nothing"; readonly why: string };

/** A clean plan; hosts of which nothing is known have no step. */
export interface DownPlan {
  readonly kind: "plan";
  readonly name: string;
  readonly steps: readonly DownStep[];
  /** Left out by `allowUnknown`; the call ends with UNKNOWN all the same. */
  readonly unknown: readonly string[];
  readonly warnings: readonly string[];
}

/** How far it may go. */
export interface DownOptions {
  readonly owner: string;
  /** Stop only: what was installed in it is kept. */
  readonly stop?: boolean;
  /** Go on although some hosts cannot be asked, as when one is gone for good. */
  readonly allowUnknown?: boolean;
}

/** The plan, or why there is none. */
export function planDown(
  { spec, hosts, options }: { spec: ContainerSpec; hosts: readonly HostInput[]; options: DownOptions },
): DownPlan | Refusal {
  const { owner, stop = false, allowUnknown = false } = options;
  const views = viewsOf(hosts, { owner, name: spec.name });
  if (spec.lifetime === "no_launch") {
    return refusal(views, {
      exit: "USAGE",
      code: "no_launch",
      message:
        `Cannot take down "${spec.name}": its lifetime is no_launch, davit neither made it nor ends it`,
      hint: "whoever started it ends it",
    });
  }
  const refused = allowUnknown ? undefined : refuseUnknown(spec.name, views);
  if (refused !== undefined) return { ...refused, hint: `${refused.hint}; --allow-unknown does the others` };
  const foreign = views.filter(({ state }) => state.kind === "foreign");
  if (foreign.length > 0) {
    return refusal(views, {
      code: "foreign",
      message: `Cannot take down "${spec.name}": it is not yours on ${
        hostList(foreign.map(({ host }) => host))
      }`,
      hint: "davit removes only what it made for you",
      reasons: new Map(foreign.map(({ host, state }) => [host, describeState(state)])),
    });
  }
  const own = ownViews(views);
  const steps = views.flatMap(({ host, state }): DownStep[] => {
    if (state.kind === "unknown") return [];
    const found = own.find((view) => view.host === host)?.own;
    if (found === undefined) return [{ host, do: "nothing", why: "absent" }];
    const isRunning = ["running", "paused", "restarting"].includes(found.status);
    if (stop && !isRunning) return [{ host, do: "nothing", why: describeState(state) }];
    return [{ host, do: stop ? "stop" : "remove", id: found.id, generation: found.labels.generation }];
  });
  const execs = own.reduce((sum, view) => sum + view.own.execs, 0);
  return {
    kind: "plan",
    name: spec.name,
    steps,
    unknown: views.filter(({ state }) => state.kind === "unknown").map(({ host }) => host),
    warnings: [
      ...execs > 0 ? [`${execs} of davit's commands run in it`] : [],
      ...unknownCauses(views).map(({ hosts: names, text }) => `${hostList(names)}: ${text}, left as it is`),
    ],
  };
}
