/**
 * `container status`: what is on each host.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { addJoinOptions, loadFromOptions, ownerOf } from "./container_options.ts";
import { addSessionOptions, openSession } from "./container_session.ts";
import type { Context } from "./context.ts";
import { ExitAs } from "./exit_as.ts";

const HELP = `
Changes nothing and waits for no lock.

Examples:
  davit container status -f cluster.yaml
  davit container status --name dev --hosts gpu1,gpu2 --json

Exit status (error.code): 0 all run, are ready, of one image and as the spec says; 3 they are not; 4 a host is
unknown (the table says why); 64 usage; 65, 66 the spec.`;

/** Builds the command. */
export function containerStatus(context: Context): CommandUnknownOpts {
  const command = new Command("status")
    .description("Show the containers of all hosts")
    .addHelpText("after", HELP);
  addJoinOptions(command);
  addSessionOptions(command);
  return command.action(async (_flags: unknown, self: CommandUnknownOpts) => {
    const { gatherFacts } = await import("../lib/container/gather.ts");
    const { canonicalSpec } = await import("../lib/container/spec_hash.ts");
    const { renderStatus, statusExit, statusOf } = await import("../lib/container/status.ts");
    await using session = await openSession(context, self, await loadFromOptions(context, self, "join"));
    const { hosts, loaded: { spec, isComplete } } = session;
    const status = statusOf(spec, await gatherFacts(hosts, spec), {
      specHash: isComplete ? (await canonicalSpec(spec)).hash : undefined,
      owner: ownerOf(context.env),
      nowMs: Date.now(),
    });
    context.result({ name: spec.name, hosts: status }, renderStatus(status));
    const code = statusExit(status);
    if (code !== 0) throw new ExitAs({ code, signal: null });
  });
}
