/**
 * `container exec`: runs a command in the containers of all hosts.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { addExecOptions, type ExecFlags, execParts } from "./container_exec_parts.ts";
import { addJoinOptions, loadFromOptions, ownerOf } from "./container_options.ts";
import { addSessionOptions, openSession } from "./container_session.ts";
import { addUseOptions, type UseFlags, useOptions } from "./container_use_parts.ts";
import type { Context } from "./context.ts";
import { variables } from "./container_variables.ts";
import { addSettings } from "./options.ts";

const HELP = `
The command is an argument list, no shell line: \`-- sh -c '…'\` asks for a shell. It runs nowhere unless every host
is known and has a container that runs and is ready. Output comes live, with the host's name before each line where
there are several hosts; of one host it is byte for byte. With --json it is in the result, at most 256 KiB a stream.

Signals go to the command. A second Ctrl-C, or --grace after the first, ends it inside the containers; so does
--timeout. Nothing of it is left there.

Examples:
  davit container exec -f cluster.yaml -- rocm-smi
  davit container exec --name dev --hosts gpu1 -it -- bash
  davit container exec -f cluster.yaml --rank-env -- python train.py
  davit container exec -f cluster.yaml --output-dir out --timeout 10m -- ./check.sh

Exit status (error.code): what the command exits with, where it is the same on all hosts; else
  3    refused: absent, not_running, foreign, digests_differ, …
  4    a host is unknown (unreachable, sudo, daemon, …, connection_lost, caller_gone): it may run there or not
  5    different on the hosts; fail_fast       64   usage          66   not_found
  69   no_such_container, not_running, not_ended (it did not go, even by SIGKILL)
  71   no_terminal    74  stdout    75  busy: another davit changes the container    76  protocol
  124  it took too long on all hosts           127  there is no such command`;

/** Builds the command. */
export function containerExec(context: Context): CommandUnknownOpts {
  const command = new Command("exec")
    .description("Run a command in the containers of all hosts")
    .argument("<command...>", "the command and its arguments")
    .option("-e, --env <name=value>", "a variable for it; may be repeated", variables)
    .option("-w, --workdir <dir>", "its working directory inside")
    .option("-u, --user <user[:group]>", "who runs it inside")
    .addHelpText("after", HELP);
  addJoinOptions(command);
  addSessionOptions(command);
  addExecOptions(command);
  addUseOptions(command);
  addSettings(command, ["container.lock_wait"]);
  return command.action(async (argv: string[], _flags: unknown, self: CommandUnknownOpts) => {
    const { execOnHosts, exitStatusOf } = await import("../lib/container/exec.ts");
    const flags = self.opts() as unknown as ExecFlags & UseFlags & {
      env?: Record<string, string>;
      workdir?: string;
      user?: string;
    };
    const owner = ownerOf(context.env);
    const loaded = await loadFromOptions(context, self, "join");
    const isJson = (self.optsWithGlobals() as { json?: true }).json === true;
    await using parts = execParts(context, flags, { argv, isJson });
    await using session = await openSession(context, self, loaded, parts.signal);
    const { hosts, loaded: { spec, isComplete } } = session;
    const options = await parts.optionsFor(hosts.names);
    const results = await execOnHosts(hosts, spec, {
      ...options,
      ...useOptions(context, { flags, owner, isComplete }),
      ...{ env: flags.env ?? {}, workdir: flags.workdir, user: flags.user },
      lockWaitMs: context.settings(self).get("container.lock_wait"),
    });
    parts.finish(results, exitStatusOf(results));
  });
}
