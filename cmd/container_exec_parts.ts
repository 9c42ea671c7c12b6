/**
 * What `container exec` and `container run` have in common: flags of the command that runs inside, the terminal,
 * signals, where output goes, and the end.
 *
 * @module
 */
import {
  type Command,
  type CommandUnknownOpts,
  InvalidArgumentError,
  Option,
} from "@commander-js/extra-typings";
import type { ExecHost, ExecOptions } from "../lib/container/exec.ts";
import { ExecSignals } from "../lib/container/exec_signals.ts";
import type { ExecSinks } from "../lib/container/exec_sinks.ts";
import { Failure, messageOf } from "../lib/failure.ts";
import { formatDuration, parseDuration } from "../lib/units.ts";
import type { Context } from "./context.ts";
import { ExitAs } from "./exit_as.ts";

/** Flags of the command inside, as commander gives them. */
export interface ExecFlags {
  readonly interactive?: true | undefined;
  readonly tty?: true | undefined;
  readonly timeout?: number | undefined;
  readonly grace: number;
  readonly rankEnv?: true | undefined;
  readonly failFast?: true | undefined;
  readonly outputDir?: string | undefined;
}

/** Adds them. */
export function addExecOptions(command: CommandUnknownOpts): void {
  (command as unknown as Command)
    .option("-i, --interactive", "give it our standard input; one host only")
    .option("-t, --tty", "give it a terminal; one host only")
    .option("--timeout <duration>", "end it inside the containers after so long, and exit 124", duration)
    .addOption(graceOption())
    .option("--rank-env", "set RANK, WORLD_SIZE, MASTER_ADDR, … and start on all hosts at once")
    .option("--fail-fast", "end it everywhere when it fails on one host")
    .option("--output-dir <dir>", "write HOST.stdout, HOST.stderr and HOST.json there");
}

/** `--grace`. */
export function graceOption(): Option {
  return durationOption("--grace <duration>", "time between SIGTERM and SIGKILL inside", [10_000, "10s"]);
}

/** An option whose value is a duration. */
export function durationOption(
  flags: string,
  description: string,
  [fallbackMs, text]: readonly [number, string],
): Option {
  return new Option(flags, description).argParser(duration).default(fallbackMs, text) as unknown as Option;
}

/** A parser of durations for commander's options. */
export function duration(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error));
  }
}

/** A parser of whole numbers. */
export function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`expected a whole number, got "${text}"`);
  return Number(text);
}

/** What the process gives to one command inside. */
export interface ExecParts extends AsyncDisposable {
  /** Aborted by signals, where the command does not take them. */
  readonly signal: AbortSignal;
  /** Opens where output goes, and the terminal. */
  optionsFor(hosts: readonly string[]): Promise<ProcessOptions>;
  /** Prints what there is to print and ends as the command did. */
  finish(results: readonly ExecHost[], status: number): never;
}

/** The part of {@linkcode ExecOptions} that the flags and the process decide. */
export type ProcessOptions =
  & Pick<ExecOptions, "argv" | "tty" | "messages" | "timeoutMs" | "graceMs" | "hasRankEnv" | "isFailFast">
  & Pick<ExecOptions, "input" | "signal" | "onOutput" | "onEnd">;

/** From now on signals go to the command; before it runs, they end davit. */
export function execParts(
  context: Context,
  flags: ExecFlags,
  { argv, isJson }: { argv: readonly string[]; isJson: boolean },
): ExecParts {
  const { grace, outputDir } = flags;
  const isTerminal = flags.tty === true && flags.interactive === true && Deno.stdin.isTerminal();
  const signals = new ExecSignals({ graceMs: grace });
  const more: Deno.Signal[] = ["SIGQUIT", "SIGUSR1", "SIGUSR2", ...isTerminal ? ["SIGWINCH"] as const : []];
  context.takeSignals(more, (name) => {
    if (name === "SIGWINCH") signals.tell(terminalSize());
    else signals.take(name);
  });
  let sinks: Sinks | undefined;
  return {
    signal: signals.signal,
    async optionsFor(hosts) {
      if ((flags.interactive || flags.tty) && hosts.length !== 1) throw notOne(hosts.length);
      sinks = await openSinks(hosts, { outputDir, isJson });
      if (isTerminal) Deno.stdin.setRaw(true);
      return {
        argv,
        tty: flags.tty === true,
        messages: () => signals.messages(isTerminal ? [terminalSize()] : []),
        timeoutMs: flags.timeout,
        graceMs: grace,
        hasRankEnv: flags.rankEnv === true,
        isFailFast: flags.failFast === true,
        signal: signals.signal,
        onOutput: sinks.onOutput,
        onEnd: sinks.onEnd,
        ...flags.interactive && { input: Deno.stdin.readable },
      };
    },
    finish(results, status) {
      for (const { host, error } of results) if (error !== undefined) context.log.error(error, { host });
      if (isJson) {
        const hosts = results.map((result) => ({ ...result, ...sinks?.of?.(result.host) }));
        context.result({ status, hosts }, "");
      } else if (outputDir !== undefined) context.result(undefined, renderEnds(results));
      else if (results.length > 1) logEnds(context, results);
      throw new ExitAs({ code: status, signal: null });
    },
    async [Symbol.asyncDispose]() {
      if (sinks !== undefined && isTerminal) Deno.stdin.setRaw(false);
      signals[Symbol.dispose]();
      await sinks?.close?.();
    },
  };
}

function notOne(count: number): Failure {
  return new Failure("USAGE", `Cannot use --interactive or --tty on ${count} hosts: wanted one`, {
    code: "usage",
    hint: "name it with --hosts",
  });
}

type Sinks = ExecSinks & { of?(host: string): object; close?(): Promise<void> };

async function openSinks(
  hosts: readonly string[],
  { outputDir, isJson }: { outputDir: string | undefined; isJson: boolean },
): Promise<Sinks> {
  const { capturingSinks, fileSinks, liveSinks } = await import("../lib/container/exec_sinks.ts");
  if (outputDir !== undefined) {
    const sinks = await fileSinks(outputDir, hosts);
    return { ...sinks, close: async () => await sinks[Symbol.asyncDispose]() };
  }
  if (isJson) {
    const sinks = capturingSinks();
    return { ...sinks, of: sinks.captured };
  }
  const { processSink } = await import("./process_sink.ts");
  return liveSinks(hosts, processSink());
}

function renderEnds(results: readonly ExecHost[]): string {
  const width = Math.max(...results.map(({ host }) => host.length));
  return results.map(({ host, code, timedOut, durationMs }) =>
    `${host.padEnd(width)}  ${timedOut ? "timed out" : code ?? "unknown"}  ${formatDuration(durationMs)}`
  ).join("\n");
}

function logEnds({ log }: Context, results: readonly ExecHost[]): void {
  for (const { host, code, timedOut } of results) {
    if (timedOut) log.error("it took too long and was ended", { host });
    else if (code !== 0 && code !== null) log.error("it failed", { host, code });
  }
}

function terminalSize(): { columns: number; rows: number } {
  try {
    const { columns, rows } = Deno.consoleSize();
    if (columns > 0 && rows > 0) return { columns, rows };
  } catch {
    // Only standard input is a terminal.
  }
  return { columns: 80, rows: 24 };
}
