/**
 * `vitals run`: declares the flags and puts the parts together, for the probe alone, for the entrypoint that runs a
 * command, and for the probe that the entrypoint starts beside it.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { Failure, messageOf } from "../lib/failure.ts";
import { flagOf } from "../lib/settings.ts";
import type { SettingKey } from "../lib/settings_table.ts";
import { probeStart } from "../lib/host/self.ts";
import type { LogStyle } from "../lib/vitals/log_line.ts";
import type { VitalsOptions } from "../lib/vitals/run.ts";
import { VERSION } from "../lib/version.ts";
import type { Context, SettingsView } from "./context.ts";
import { ExitAs } from "./exit_as.ts";
import { addSettings, flagsOf } from "./options.ts";

const HELP = `
One line a sample, an event line for what happens, a line at the start and at the end. Nothing stops it but a signal:
a source that is lost, a reader of stdout that stalls or goes, a full disk are each said in a line. An interval that
makes no sense is replaced by one that does, and that is said too.

With a command it is an ENTRYPOINT: the command has the terminal, standard input, signals and exit status as if davit
were not there, as PID 1 too; samples come from a process of their own, which the kernel kills first. The last line
has the command's status and, where it failed, the verdict.

Examples:
  davit vitals run
  davit vitals run --interval 1 --ring /var/log/vitals.ring --workdir /work
  davit vitals run --while-process Runner.Worker
  davit vitals run --termination-log /dev/termination-log -- ./run.sh --once
  ENTRYPOINT ["davit", "vitals", "run", "--"]

OTEL_EXPORTER_OTLP_HEADERS gives --otlp its headers. TUIST_RUNNER_VITALS_INTERVAL stands in for --interval.

Exit status (error.code): alone 0 when told to stop; with a command the command's own, 128+n where a signal ended it;
125 it could not be started (command_not_started); 126 it is not executable (command_not_executable); 127 there is no
such command (command_missing); 64 wrong usage; 66 no such cgroup (no_cgroup); 78 bad configuration.`;

const KEYS = [
  "vitals.interval",
  "vitals.tag",
  "vitals.format",
  "vitals.cgroup",
  "vitals.workdir",
  "vitals.while_process",
  "vitals.ring",
  "vitals.ring_size",
  "vitals.termination_log",
  "vitals.textfile",
  "vitals.otlp",
] as const satisfies readonly SettingKey[];

/** Builds the command. */
export function vitalsRun(context: Context): CommandUnknownOpts {
  const command = new Command("run")
    .description("Print the vitals of this machine and cgroup, alone or beside a command")
    .usage("[options] [-- command args...]")
    .argument("[command...]", "run this, and sample for as long as it runs")
    .addOption(
      new Option("--beside <uptime>", "be the probe of a command started then").argParser(Number).hideHelp(),
    )
    .addOption(new Option("--signals-held", "signals are blocked, to be read").hideHelp())
    .addHelpText("after", HELP);
  addSettings(command, KEYS);
  return command.action(async (argv, { beside, signalsHeld }, self) => {
    const settings = context.settings(self);
    const logStyle: LogStyle = { level: settings.get("log_level"), isJson: isJson(self) };
    const options = { ...await optionsOf(context, settings), logStyle };
    const [program, ...args] = argv;
    if (program === undefined) return await runProbe(context, options, beside);
    const { runEntrypointCommand } = await import("./vitals_entrypoint.ts");
    throw new ExitAs(
      await runEntrypointCommand(context, {
        argv: [program, ...args],
        flags: [...flagTexts(self), ...logStyle.isJson ? ["--json"] : []],
        logStyle,
        cgroup: options.cgroup,
        areHeld: signalsHeld === true,
      }),
    );
  });
}

async function runProbe(
  context: Context,
  options: VitalsOptions,
  sinceUptime: number | undefined,
): Promise<void> {
  const { runVitals } = await import("../lib/vitals/run.ts");
  if (sinceUptime === undefined) return await runVitals(options);
  const { readMessages } = await import("../lib/vitals/messages.ts");
  // Who signals a whole job step signals us too; the command decides how long there is something to sample.
  context.takeSignals(["SIGQUIT"], () => {});
  await runVitals({ ...options, beside: { messages: readMessages(Deno.stdin.readable), sinceUptime } });
}

async function optionsOf(context: Context, settings: SettingsView): Promise<VitalsOptions> {
  const { env, signal } = context;
  const { parseTag } = await import("../lib/vitals/line.ts");
  const { metricsUrl, parseOtlpHeaders } = await import("../lib/vitals/otlp.ts");
  const otlp = settings.get("vitals.otlp");
  const { headers, bad } = parseOtlpHeaders(env.OTEL_EXPORTER_OTLP_HEADERS ?? "");
  if (otlp !== undefined && bad > 0) {
    context.log.warn("passing over parts of OTEL_EXPORTER_OTLP_HEADERS", { bad });
  }
  const ring = settings.get("vitals.ring");
  return {
    interval: settings.get("vitals.interval"),
    tag: parsed(settings, "vitals.tag", parseTag)!,
    format: settings.get("vitals.format"),
    cgroup: settings.get("vitals.cgroup"),
    workdir: absolute(settings.get("vitals.workdir") ?? "."),
    whileProcess: settings.get("vitals.while_process"),
    ring: ring === undefined ? undefined : { path: ring, sizeBytes: settings.get("vitals.ring_size") },
    terminationLog: settings.get("vitals.termination_log"),
    textfile: absolute(settings.get("vitals.textfile")),
    otlp: otlp === undefined ? undefined : { url: parsed(settings, "vitals.otlp", metricsUrl)!, headers },
    env,
    version: VERSION,
    self: probeStart(),
    signal,
  };
}

/** A setting whose text only its wing can read. */
function parsed<T>(settings: SettingsView, key: SettingKey, parse: (text: string) => T): T | undefined {
  const { text, origin } = settings.resolve(key);
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const isFlag = origin.kind === "flag";
    const name = isFlag ? flagOf(key) : `setting ${key} from ${origin.name}`;
    throw new Failure(isFlag ? "USAGE" : "CONFIG", `Cannot use ${name}: ${messageOf(error)}`, {
      code: isFlag ? "usage" : "bad_configuration",
      cause: error,
    });
  }
}

/** Whether --json was given, before the command's name or after it. */
function isJson(command: CommandUnknownOpts): boolean {
  return (command.optsWithGlobals() as { readonly json?: true }).json === true;
}

/** The flags that were given, to be given again. */
function flagTexts(command: CommandUnknownOpts): string[] {
  return Object.entries(flagsOf(command)).flatMap(([key, values]) =>
    [values].flat().map((value) => `${flagOf(key as SettingKey)}=${value}`)
  );
}

function absolute<T extends string | undefined>(path: T): T | string {
  return path === undefined || path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}
