/**
 * `container attach`: joins what runs, or refuses.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { addJoinOptions, loadFromOptions, ownerOf } from "./container_options.ts";
import { addSessionOptions, openSession } from "./container_session.ts";
import type { Context } from "./context.ts";

const HELP = `
Creates, starts and removes nothing, ever. A spec is compared with what runs; with --name alone nothing is. A
container of that name that davit did not make is joined where the spec's lifetime is no_launch, or with --adopt.

Examples:
  davit container attach -f cluster.yaml
  davit container attach --name dev --hosts gpu1,gpu2 --json

Exit status (error.code): 0 all run and are ready; 3 refused, as in \`davit container up --help\`; 4 a host is
unknown; 64 usage; 65, 66 the spec.`;

/** Builds the command. */
export function containerAttach(context: Context): CommandUnknownOpts {
  const command = new Command("attach")
    .description("Check that the containers run and are what the spec says; create nothing")
    .option("--adopt", "join what another made under this name, too")
    .option("--ignore-drift", "attach although it was made from another spec")
    .addHelpText("after", HELP);
  addJoinOptions(command);
  addSessionOptions(command);
  return command.action(async (_flags: unknown, self: CommandUnknownOpts) => {
    const { attach } = await import("../lib/container/attach.ts");
    const { renderUp } = await import("../lib/container/attached.ts");
    const { adopt, ignoreDrift } = self.opts() as unknown as { adopt?: true; ignoreDrift?: true };
    await using session = await openSession(context, self, await loadFromOptions(context, self, "join"));
    const { hosts, loaded: { spec, isComplete } } = session;
    const drift = !isComplete ? "skip" : ignoreDrift ? "warn" : "refuse";
    const plan = { command: "attach", owner: ownerOf(context.env), adopt: adopt === true, drift } as const;
    const result = await attach(hosts, spec, { plan, log: context.log });
    context.result(result, renderUp(result));
  });
}
