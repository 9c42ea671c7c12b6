/**
 * `container down`: removes davit's containers of one name, or stops them.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { graceOption } from "./container_exec_parts.ts";
import { addJoinOptions, loadFromOptions, ownerOf } from "./container_options.ts";
import { addSessionOptions, failForUnknown, openSession } from "./container_session.ts";
import type { Context } from "./context.ts";
import { addSettings } from "./options.ts";

const HELP = `
Removes what davit made for you under this name, by id, and looks whether it is gone; what is gone already is fine.
What davit did not make is never touched. While commands of davit run inside it refuses, unless --force ends them.

Examples:
  davit container down -f cluster.yaml
  davit container down --name dev --hosts gpu1,gpu2
  davit container down -f cluster.yaml --stop

Exit status (error.code): 0 gone (or stopped), or was not there; 3 refused: foreign; 4 a host is unknown
(unknown_hosts: with --allow-unknown the others are done); 5 done in part, not_removed; 64 usage, no_launch;
75 in_use, busy.`;

/** Builds the command. */
export function containerDown(context: Context): CommandUnknownOpts {
  const command = new Command("down")
    .description("Remove the containers, or stop them with --stop")
    .option("--stop", "only stop them; what is installed inside stays")
    .option("--force", "also while commands run inside: they end")
    .option("--allow-unknown", "go on although nothing is known of some hosts")
    .addOption(graceOption())
    .addHelpText("after", HELP);
  addJoinOptions(command);
  addSessionOptions(command);
  addSettings(command, ["container.lock_wait"]);
  return command.action(async (_flags: unknown, self: CommandUnknownOpts) => {
    const { down, renderDown } = await import("../lib/container/down.ts");
    const flags = self.opts() as unknown as { stop?: true; force?: true; allowUnknown?: true; grace: number };
    await using session = await openSession(context, self, await loadFromOptions(context, self, "join"));
    const { hosts, loaded: { spec } } = session;
    const results = await down(hosts, spec, {
      owner: ownerOf(context.env),
      ...{ isStop: flags.stop === true, isForced: flags.force === true, graceMs: flags.grace },
      isUnknownFine: flags.allowUnknown === true,
      lockWaitMs: context.settings(self).get("container.lock_wait"),
      log: context.log,
    });
    context.result({ name: spec.name, hosts: results }, renderDown(spec.name, results));
    failForUnknown("take down", results.filter(({ did }) => did === "unknown").map(({ host }) => host));
  });
}
