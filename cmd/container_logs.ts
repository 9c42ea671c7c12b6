/**
 * `container logs`: what the containers' own commands print.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { whole } from "./container_exec_parts.ts";
import { addJoinOptions, loadFromOptions, ownerOf } from "./container_options.ts";
import { addSessionOptions, openSession } from "./container_session.ts";
import type { Context } from "./context.ts";

const HELP = `
Also of containers that do not run or were not provisioned to the end.

Examples:
  davit container logs -f cluster.yaml --tail 100
  davit container logs --name dev --hosts gpu1 --follow

Exit status (error.code): 0; 3 absent; 4 a host is unknown; 5 done in part; 74 stdout; 64 usage; 130 by Ctrl-C.`;

/** Builds the command. */
export function containerLogs(context: Context): CommandUnknownOpts {
  const command = new Command("logs")
    .description("Show what the containers print")
    .option("--tail <number>", "only so many of the last lines", whole)
    .option("--follow", "go on until Ctrl-C")
    .addHelpText("after", HELP);
  addJoinOptions(command);
  addSessionOptions(command);
  return command.action(async (_flags: unknown, self: CommandUnknownOpts) => {
    const { showLogs } = await import("../lib/container/logs.ts");
    const { liveSinks } = await import("../lib/container/exec_sinks.ts");
    const { processSink } = await import("./process_sink.ts");
    const { tail, follow } = self.opts() as unknown as { tail?: number; follow?: true };
    await using session = await openSession(context, self, await loadFromOptions(context, self, "join"));
    const { hosts, loaded: { spec } } = session;
    await showLogs(hosts, spec, {
      ...{ tail, isFollowing: follow === true },
      ...{ owner: ownerOf(context.env), adopt: true, isUnreadyFine: true, allowMissing: 0, drift: "skip" },
      ...liveSinks(hosts.names, processSink()),
      log: context.log,
    });
  });
}
