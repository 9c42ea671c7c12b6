/**
 * `hook logs`: prints a job's output once more, or from somewhere else.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "./context.ts";
import { addServerOptions, connect } from "./hook_options.ts";

const HELP = `
Prints what the server still has: output that the job's own client has taken is gone there, and that is said. Nothing
is taken away from that client.

Examples:
  davit hook logs --follow
  davit hook logs 4f1c… 2>/dev/null

Exit status (error.code): 0 printed, whatever the job's own was; 66 no such job (unknown_job, no_job); 69 the server
cannot be reached (server_unreachable, server_gone); 77 no permission; 141 the reader of our output is gone
(output_closed); 64 wrong usage; 78 bad configuration.`;

/** Builds the command. */
export function hookLogs(context: Context): CommandUnknownOpts {
  const command = new Command("logs")
    .description("Print the output of a job")
    .argument("[id]", "the job; without it the one that runs, else the last")
    .option("-f, --follow", "go on until the job ends")
    .addHelpText("after", HELP);
  addServerOptions(command);
  return command.action(async (id, { follow }, self) => {
    const { printLogs } = await import("../lib/hook/logs.ts");
    const { OutputSink } = await import("../lib/hook/sink.ts");
    using client = await connect(context, self);
    await printLogs({
      client,
      id,
      follows: follow === true,
      sink: new OutputSink({ stdout: Deno.stdout, stderr: Deno.stderr }),
      log: context.log,
      signal: context.signal,
    });
  });
}
