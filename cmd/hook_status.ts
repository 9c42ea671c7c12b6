/**
 * `hook status`: what a hook server does right now, and how its last jobs ended.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "./context.ts";
import { addServerOptions, connect } from "./hook_options.ts";

const HELP = `
Examples:
  davit hook status --server /run/davit.sock --token-file token
  davit hook status --json | jq .job

Exit status (error.code): 0 it answered; 69 it cannot be reached (server_unreachable); 77 it does not accept the
token (bad_token), or all can read its file (open_token_file); 66 no token file (token_file); 76 that is no hook
server (not_a_hook_server); 64 wrong usage; 78 bad configuration.`;

/** Builds the command. */
export function hookStatus(context: Context): CommandUnknownOpts {
  const command = new Command("status")
    .description("Show what a hook server runs and ran")
    .addHelpText("after", HELP);
  addServerOptions(command);
  return command.action(async (_flags, self) => {
    const { describeStatus, readStatus } = await import("../lib/hook/status.ts");
    using client = await connect(context, self);
    const status = await readStatus(client);
    context.result(status, describeStatus(status, client.server));
  });
}
