/**
 * All that a command may see of the process: the environment, the end signal, settings, the log, the result
 * channel and the progress display. main makes one.
 *
 * @module
 */
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { configPaths, readConfigFiles } from "../lib/config_file.ts";
import { EXIT, Failure } from "../lib/failure.ts";
import type { Activity } from "../lib/host/activity.ts";
import type { Log } from "../lib/host/log.ts";
import { type ConfigFile, type Environment, type Resolved, resolveSetting } from "../lib/settings.ts";
import type { SettingKey, SettingValue } from "../lib/settings_table.ts";
import { flagsOf } from "./options.ts";
import { Output } from "./output.ts";
import { showProgress } from "./progress.ts";

/** Gives a setting's value; with its history by {@linkcode SettingsView.resolve}. */
export interface SettingsView {
  get<K extends SettingKey>(key: K): SettingValue<K>;
  resolve<K extends SettingKey>(key: K): Resolved<SettingValue<K>>;
}

/** See the module's description. */
export interface Context {
  readonly env: Environment;
  /** Aborted by SIGINT, SIGTERM or SIGHUP, with the {@linkcode Failure} to end with as its reason. */
  readonly signal: AbortSignal;
  /** Numbers of the signals that davit was told to ignore by whoever started it, as SIGHUP under nohup. */
  readonly ignoredSignals: ReadonlySet<number>;
  /** From now on `handler` gets these signals, and SIGINT, SIGTERM and SIGHUP; `signal` is never aborted. */
  takeSignals(names: readonly Deno.Signal[], handler: (name: Deno.Signal) => void): void;
  readonly log: Log;
  /** Prints the command's result: `value` with `--json`, else `text`. */
  result(value: unknown, text: string): void;
  /** Reads the configuration files and sets the log level; called before each command. */
  prepare(command: CommandUnknownOpts): Promise<void>;
  /** The settings, as the flags of `command` see them. */
  settings(command: CommandUnknownOpts): SettingsView;
  /** Shows `activity` until disposed. */
  progress(activity: Activity): Disposable;
  /** Prints what went wrong, once, and gives the exit status. */
  reportError(error: unknown): number;
}

/** What main hands in. */
export interface ProcessParts extends Pick<Context, "env" | "signal" | "ignoredSignals" | "takeSignals"> {
  readonly json: boolean;
}

/** Makes the context of this process. */
export function createContext(parts: ProcessParts): Context {
  const { env, json } = parts;
  const output = new Output({ json });
  let files: ConfigFile[] = [];

  function settings(command: CommandUnknownOpts): SettingsView {
    const sources = { flags: flagsOf(command), environment: env, files };
    return {
      get: (key) => resolveSetting(key, sources).value,
      resolve: (key) => resolveSetting(key, sources),
    };
  }

  return {
    env,
    signal: parts.signal,
    ignoredSignals: parts.ignoredSignals,
    takeSignals: parts.takeSignals,
    log: output.log,
    result: (value, text) => output.result(value, text),
    async prepare(command) {
      files = await readConfigFiles(configPaths(env), { must: Boolean(env.DAVIT_CONFIG) });
      output.level = settings(command).get("log_level");
    },
    settings,
    progress: (activity) => showProgress(activity, output),
    reportError(error) {
      const failure = error instanceof Failure ? error : new Failure(
        "SOFTWARE",
        `This is a bug in davit: ${error instanceof Error ? error.stack : String(error)}`,
        { code: "bug", hint: "please report it with the command line that led here", cause: error },
      );
      output.error(failure);
      return failure.exitStatus ?? EXIT.SOFTWARE;
    },
  };
}
