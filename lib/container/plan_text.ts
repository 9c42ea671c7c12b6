/**
 * Plans and refusals for people and for scripts.
 *
 * @module
 */
import { escapeForTerminal } from "../host/logfmt.ts";
import type { FieldDifference } from "./diff.ts";
import type { DownPlan, DownStep } from "./plan_down.ts";
import { hostList, type Plan, type PlanStep, type Refusal } from "./plan_types.ts";

const ID_CHARS = 12;

const ACTIONS: Readonly<Record<Plan["action"], string>> = {
  attach: "attach; nothing changes",
  start: "start; what was installed in it is kept",
  create: "create",
  resume: "complete what an interrupted call began",
  fill: "create where it is absent",
  replace: "remove and create anew; what was installed in it is lost",
  provision: "run the setup script again",
};

/** Several lines, one per group of hosts. */
export function renderPlan(plan: Plan | DownPlan | Refusal): string {
  return escapeForTerminal(linesOf(plan).join("\n"), { isMultiline: true });
}

/** The same for --json; `exit` is the status that acting on it would end with. */
export function planJson(plan: Plan | DownPlan | Refusal): unknown {
  return plan;
}

function linesOf(plan: Plan | DownPlan | Refusal): string[] {
  if (plan.kind === "refusal") {
    return [
      `refused (${plan.code}): ${plan.message}`,
      ...grouped(
        plan.hosts,
        ({ state, reason }) => reason === undefined || reason === state ? state : `${state}: ${reason}`,
      ),
      ...differenceLines(plan.differences),
      `hint: ${plan.hint}`,
    ];
  }
  const steps: readonly (PlanStep | DownStep)[] = plan.steps;
  return [
    "action" in plan ? `${plan.name}: ${ACTIONS[plan.action]}` : `${plan.name}: take down`,
    ...grouped(steps, describeStep),
    ...plan.warnings.map((warning) => `warning: ${warning}`),
    ...differenceLines("differences" in plan ? plan.differences : []),
  ];
}

function describeStep(step: PlanStep | DownStep): string {
  switch (step.do) {
    case "attach":
      return step.isOurs ? "attach" : "attach by name; not made by davit";
    case "start":
      return step.from === "running"
        ? "run the start script and sshd"
        : step.from === "paused"
        ? "unpause"
        : "start";
    case "provision":
      return step.from === "running" ? "provision" : "start and provision";
    case "nothing":
      return `nothing to do (${step.why})`;
    default:
      return step.do;
  }
}

/** "  start: n1, n2", in the order of the first host of each. */
function grouped<T extends { readonly host: string }>(
  rows: readonly T[],
  describe: (row: T) => string,
): string[] {
  return [...Map.groupBy(rows, describe)].map(([what, members]) =>
    `  ${what}: ${
      hostList(members.map((row) =>
        "id" in row ? `${row.host} (${String(row.id).slice(0, ID_CHARS)})` : row.host
      ))
    }`
  );
}

function differenceLines(differences: readonly FieldDifference[]): string[] {
  return differences.map(({ field, was, is }) => `  ${field}: ${was ?? "not set"} -> ${is ?? "not set"}`);
}
