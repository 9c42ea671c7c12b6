/**
 * `container cp`: files into the containers of all hosts, or out of them.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { addJoinOptions, loadFromOptions, ownerOf } from "./container_options.ts";
import { addSessionOptions, openSession } from "./container_session.ts";
import { addUseOptions, type UseFlags, useOptions } from "./container_use_parts.ts";
import type { Context } from "./context.ts";
import { addSettings } from "./options.ts";

const HELP = `
A path that begins with a colon is in the containers, and absolute. The target is a directory: the source arrives in
it under its own name. From several hosts each has a directory of its name below the target.

Examples:
  davit container cp -f cluster.yaml ./dataset :/work
  davit container cp -f cluster.yaml :/work/results ./results

Exit status (error.code): 0; 3 refused; 4 a host is unknown; 5 done in part; 64 usage; 66 not_found;
69 missing_program (tar); 74 cannot_copy; 75 busy.`;

/** Builds the command. */
export function containerCp(context: Context): CommandUnknownOpts {
  const command = new Command("cp")
    .description("Copy files into the containers of all hosts, or out of them")
    .argument("<source>", "a path, or :/path in the containers")
    .argument("<directory>", "where to: a directory, or :/directory in the containers")
    .addHelpText("after", HELP);
  addJoinOptions(command);
  addSessionOptions(command);
  addUseOptions(command);
  addSettings(command, ["container.lock_wait"]);
  return command.action(async (from: string, to: string, _flags: unknown, self: CommandUnknownOpts) => {
    const { copy, parsePlace } = await import("../lib/container/cp.ts");
    const owner = ownerOf(context.env);
    const places = { source: parsePlace(from), target: parsePlace(to) };
    await using session = await openSession(context, self, await loadFromOptions(context, self, "join"));
    const { hosts, loaded: { spec, isComplete } } = session;
    const flags = self.opts() as unknown as UseFlags;
    const names = await copy(hosts, spec, places, {
      ...useOptions(context, { flags, owner, isComplete }),
      lockWaitMs: context.settings(self).get("container.lock_wait"),
    });
    context.result({ hosts: names }, `copied ${from} to ${to} on ${names.join(", ")}`);
  });
}
