/**
 * `container plan`: what `up` or `run` would do, without doing it.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT } from "../lib/failure.ts";
import { addCreateOptions, addPlanOptions, loadFromOptions, planOptionsOf } from "./container_options.ts";
import { addSessionOptions, openSession } from "./container_session.ts";
import type { Context } from "./context.ts";
import { ExitAs } from "./exit_as.ts";

const HELP = `
Asks every host once and decides as \`up\` does (as \`run\` where the lifetime is per_run). Nothing is locked, changed
or written. A refusal is a result like a plan: it is printed to stdout, with the state and the reason of each host and
every field that differs, and the exit status is the one that \`up\` would end with.

Examples:
  davit container plan -f train.yaml
  davit container plan -f cluster.json --json
  davit container plan --name box --image rocm/pytorch:latest --lifetime persistent --hosts n1,n2 --fill

Exit status: 0 there is a plan; 3 refused; 4 the state of a host is unknown; 64 wrong usage; 65 the spec is wrong
(bad_spec); 66 no_spec.`;

/** Builds the command. */
export function containerPlan(context: Context): CommandUnknownOpts {
  const command = new Command("plan")
    .description("Show what up would do, on all hosts, without doing it")
    .addHelpText("after", HELP);
  addCreateOptions(command);
  addPlanOptions(command);
  addSessionOptions(command);
  return command.action(async (_options, self) => {
    const loaded = await loadFromOptions(context, self, "create");
    const { canonicalSpec } = await import("../lib/container/spec_hash.ts");
    const { gatherFacts } = await import("../lib/container/gather.ts");
    const { planUp } = await import("../lib/container/plan.ts");
    const { planJson, renderPlan } = await import("../lib/container/plan_text.ts");
    await using session = await openSession(context, self, loaded);
    const { spec } = session.loaded;
    const facts = await gatherFacts(session.hosts, spec);
    const plan = planUp({
      spec,
      canonical: await canonicalSpec(spec),
      hosts: [...facts].map(([host, of]) => ({ host, facts: of })),
      options: planOptionsOf(context, self, spec.lifetime === "per_run" ? "run" : "up", loaded),
    });
    context.result(planJson(plan), renderPlan(plan));
    if (plan.kind === "refusal") throw new ExitAs({ code: EXIT[plan.exit], signal: null });
  });
}
