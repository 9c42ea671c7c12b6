/**
 * `hook wrap`: declares the command and gives the wrapper what it needs of the process.
 *
 * @module
 */
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "./context.ts";
import { ExitAs } from "./exit_as.ts";

const HELP = `
The hook's input, output, signals and exit status pass through unchanged. Where it fails, one ::error line on stderr
says whose fault that was: by what the hook server of the job answers (its address is in the hook's input), else by
the hook's own error lines, else that nobody can tell. A line of the OSDC wrapper that guesses "a script/workflow
error, not an infrastructure issue" is taken out.

Examples:
  davit hook wrap -- node /opt/runner-hooks/dist/index.js
  davit hook wrap -- node /home/runner/hook-extensions/wrapper.js

As ACTIONS_RUNNER_CONTAINER_HOOKS the runner takes only .js, .sh and .ps1, so put this into hook.sh:
  #!/bin/sh
  exec davit hook wrap -- node /opt/runner-hooks/dist/index.js

Exit status (error.code): the hook's own, 128+n where a signal ended it; 125 it could not be started
(command_not_started); 126 it is not executable (command_not_executable); 127 there is no such command
(command_missing); 64 wrong usage.`;

/** Builds the command. */
export function hookWrap(context: Context): CommandUnknownOpts {
  return new Command("wrap")
    .description("Run an existing container hook and say whose fault a failure was")
    .usage("[options] -- <hook> [args...]")
    .argument("<hook...>", "the hook and its arguments")
    .addHelpText("after", HELP)
    .action(async ([program, ...args]) => {
      const { wrapHook } = await import("../lib/hook/wrap.ts");
      const { OutputSink } = await import("../lib/hook/sink.ts");
      const end = await wrapHook({
        argv: [program!, ...args],
        stdin: Deno.stdin.readable,
        sink: new OutputSink({ stdout: Deno.stdout, stderr: Deno.stderr }),
        listen: (handler) => context.takeSignals(["SIGQUIT", "SIGUSR1", "SIGUSR2"], handler),
      });
      throw new ExitAs(end);
    });
}
