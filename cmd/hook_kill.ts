/**
 * `hook kill`: ends a job with all of its processes.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { KILL_SIGNALS } from "../lib/hook/protocol.ts";
import type { Context } from "./context.ts";
import { addServerOptions, connect } from "./hook_options.ts";

const HELP = `
Without --signal the job's whole tree gets SIGINT, SIGTERM after 7.5 s and SIGKILL after 10 s; the server does that
by itself, and its client still gets all output.

Examples:
  davit hook kill
  davit hook kill 4f1c… --signal KILL

Exit status (error.code): 0 the signal is on its way; 66 no such job (unknown_job, no_job), or it has
ended (job_ended); 69 the server cannot be
reached (server_unreachable); 77 no permission; 64 wrong usage; 78 bad configuration.`;

/** Builds the command. */
export function hookKill(context: Context): CommandUnknownOpts {
  const command = new Command("kill")
    .description("End a job and everything it started")
    .argument("[id]", "the job; without it the one that runs")
    .addOption(new Option("--signal <name>", "send only this").choices(KILL_SIGNALS))
    .addHelpText("after", HELP);
  addServerOptions(command);
  return command.action(async (id, { signal }, self) => {
    const { killJob } = await import("../lib/hook/status.ts");
    using client = await connect(context, self);
    const killed = await killJob(client, id, signal);
    context.result(
      { id: killed, signal: signal ?? null },
      `ending job ${killed}${signal ? ` with SIG${signal}` : ""}`,
    );
  });
}
