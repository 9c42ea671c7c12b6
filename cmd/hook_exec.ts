/**
 * `hook exec`: runs one step on a hook server as if it ran here.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { Failure } from "../lib/failure.ts";
import type { JobSpec } from "../lib/hook/protocol.ts";
import { parseDuration } from "../lib/units.ts";
import type { Context } from "./context.ts";
import { ExitAs } from "./exit_as.ts";
import { addServerOptions, connect, listenFor } from "./hook_options.ts";

const HELP = `
Output comes live and byte for byte on the stream it was written to. A connection that is cut is made again and goes
on where it was; a start whose reply was lost is asked for again under the same id and runs once. SIGINT is passed on,
then SIGTERM after 7.5 s and SIGKILL after 10 s, by the server, also when this process is gone by then; SIGTERM is
passed on, then SIGKILL after 2.5 s; the job's last output still comes.

Whose fault it was is in --result FILE (JSON: code, signal, cause, fault none|script|infra|unknown, evidence, times, peak
memory), and in GitHub Actions on one ::error line too. The exit status is a hint: a script may use any.

Examples:
  davit hook exec --server /run/davit.sock --token-file token -- make -j8
  davit hook exec --script /__w/_temp/step.sh --result /tmp/result.json
  tar -c src | davit hook exec --stdin --cwd /work -- tar -x
  davit hook exec --env A=1 --cwd /work --prepend-path /opt/bin -- sh -c 'echo "$A"'

Exit status (error.code): the job's own, 128+n where a signal ended it; 69 the server cannot be reached, or is gone
(server_unreachable, server_gone, server_restarted, job_unknown); 75 another step runs there (busy); 77 it does not
accept the token (bad_token), or all can read its file (open_token_file); 66 no token file (token_file); 76 that is no
hook server (not_a_hook_server); 65 it refuses the job (bad_spec, bad_id), 66 the id ran long ago (forgotten); 73, 74 output or --result cannot be written; 141 the reader of
our output is gone (output_closed); 64 wrong usage (bad_server: no address); 78 bad configuration.`;

/** Builds the command. */
export function hookExec(context: Context): CommandUnknownOpts {
  const command = new Command("exec")
    .description("Run a command or a script on a hook server")
    .usage("[options] [-- command args...]")
    .argument("[command...]", "what to run, without a shell")
    .option("--script <file>", "run this file of the server's: itself when it is executable, else by sh -e")
    .option("--id <id>", "the job's name; the same name never runs twice (default: random)")
    .addOption(
      new Option("--env <name=value>", "add a variable; NAME alone takes one away (repeatable)").argParser(
        appended,
      ),
    )
    .option("--cwd <dir>", "where to run it")
    .addOption(
      new Option("--prepend-path <dir>", "put this before the server's PATH (repeatable)").argParser(
        appended,
      ),
    )
    .option("--stdin", "give the command what this process reads, instead of nothing")
    .option("--result <file>", "write what became of it here, as JSON")
    .addOption(
      new Option("--give-up <duration>", "the job is lost when the server is silent for so long")
        .argParser(durationOf).default(60_000, "60s"),
    )
    .addHelpText("after", HELP);
  addServerOptions(command);
  return command.action(async (argv, flags, self) => {
    const { script, id = crypto.randomUUID(), result, giveUp } = flags;
    const spec: JobSpec = {
      ...jobOf(argv, script),
      env: parseEnvironment(flags.env ?? []),
      ...flags.cwd === undefined ? {} : { cwd: flags.cwd },
      prepend_path: flags.prependPath ?? [],
      stdin: flags.stdin ? "pipe" : "null",
    };
    const { runStep } = await import("../lib/hook/step.ts");
    const { OutputSink } = await import("../lib/hook/sink.ts");
    const code = await runStep({
      connect: () => connect(context, self),
      id,
      spec,
      sink: new OutputSink({ stdout: Deno.stdout, stderr: Deno.stderr }),
      input: flags.stdin ? Deno.stdin.readable : undefined,
      giveUpMs: giveUp,
      listen: (handler) => listenFor(context, [], handler),
      log: context.log,
      resultPath: result === undefined || result.startsWith("/") ? result : `${Deno.cwd()}/${result}`,
      annotates: context.env.GITHUB_ACTIONS === "true",
    });
    throw new ExitAs({ code, signal: null });
  });
}

function jobOf(argv: string[], script: string | undefined): { argv: string[] } | { script: string } {
  if (script !== undefined && argv.length === 0) return { script };
  if (script === undefined && argv.length > 0) return { argv };
  throw new Failure("USAGE", "Cannot tell what to run: expected either a command after -- or --script FILE", {
    code: "usage",
  });
}

function parseEnvironment(texts: readonly string[]): Record<string, string | null> {
  return Object.fromEntries(texts.map((text) => {
    const at = text.indexOf("=");
    if (text === "" || at === 0) {
      throw new Failure("USAGE", `Cannot use --env "${text}": expected NAME=VALUE, or NAME`, {
        code: "usage",
      });
    }
    return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)];
  }));
}

function durationOf(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Failure("USAGE", `Cannot use --give-up: ${error.message}`, { code: "usage" });
  }
}

function appended(text: string, before: string[] | undefined): string[] {
  return [...before ?? [], text];
}
