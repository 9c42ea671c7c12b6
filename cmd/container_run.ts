/**
 * `container run`: up, exec, and down of what it made.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { Activity } from "../lib/host/activity.ts";
import { addExecOptions, type ExecFlags, execParts } from "./container_exec_parts.ts";
import { addCreateOptions, loadFromOptions, ownerOf } from "./container_options.ts";
import { addSessionOptions, openSession } from "./container_session.ts";
import { addUpOptions, upOptions } from "./container_up_parts.ts";
import type { Context } from "./context.ts";

const HELP = `
With lifetime per_run, the default, the containers live as long as the command: they are made, and removed whatever
happens meanwhile. What is there already under that name is never touched. With persistent they are attached to or
made, and stay; with no_launch somebody else's are used.

Examples:
  davit container run --image rocm/dev:6.4 --hosts gpu1,gpu2 -- rvs -c gst.conf
  davit container run -f cluster.json --rank-env --timeout 2h -- python train.py

Exit status (error.code): what the command exits with, where it is the same on all hosts; else as in
\`davit container up --help\` and \`davit container exec --help\`; 5 not_removed: what it made may still be there.`;

/** Builds the command. */
export function containerRun(context: Context): CommandUnknownOpts {
  const command = new Command("run")
    .description("Run a command in new containers on all hosts, and remove them")
    .argument("<command...>", "the command and its arguments")
    .addHelpText("after", HELP);
  addCreateOptions(command);
  addSessionOptions(command);
  addUpOptions(command);
  addExecOptions(command);
  return command.action(async (argv: string[], _flags: unknown, self: CommandUnknownOpts) => {
    const { runOnce } = await import("../lib/container/run.ts");
    const { exitStatusOf } = await import("../lib/container/exec.ts");
    const flags = self.opts() as unknown as ExecFlags;
    const owner = ownerOf(context.env);
    const loaded = await loadFromOptions(context, self, "create");
    const isJson = (self.optsWithGlobals() as { json?: true }).json === true;
    await using parts = execParts(context, flags, { argv, isJson });
    const { signal } = parts;
    await using session = await openSession(context, self, loaded, signal);
    const { hosts } = session;
    const activity = new Activity();
    const upWays = upOptions(context, self, { loaded: session.loaded, verb: "run", activity, signal });
    const options = await parts.optionsFor(hosts.names);
    const { lockWaitMs, plan: { adopt = false } } = upWays;
    const display = context.progress(activity);
    const results = await runOnce(hosts, session.loaded.spec, {
      up: upWays,
      exec: {
        ...options,
        ...{ owner, adopt, env: {}, isUnreadyFine: false, allowMissing: 0, drift: "skip", lockWaitMs },
        log: context.log,
      },
      onUp: () => display[Symbol.dispose](),
    });
    parts.finish(results, exitStatusOf(results));
  });
}
