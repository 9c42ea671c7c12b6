/**
 * What `container up` and `container run` have in common: how a plan is done.
 *
 * @module
 */
import type { Command, CommandUnknownOpts } from "@commander-js/extra-typings";
import type { LoadedSpec } from "../lib/container/spec_load.ts";
import type { UpOptions } from "../lib/container/up.ts";
import type { Activity } from "../lib/host/activity.ts";
import { addPlanOptions, planOptionsOf } from "./container_options.ts";
import type { Context } from "./context.ts";
import { addSettings } from "./options.ts";

/** Adds the flags that {@linkcode upOptions} reads. */
export function addUpOptions(command: CommandUnknownOpts): void {
  addPlanOptions(command);
  (command as unknown as Command).option("--keep", "leave what was made in place when it does not start");
  addSettings(command, ["container.lock_wait"]);
}

/** Options of lib/container/up.ts. */
export function upOptions(
  context: Context,
  command: CommandUnknownOpts,
  { loaded, verb, activity, signal }: {
    readonly loaded: LoadedSpec;
    readonly verb: "up" | "run";
    readonly activity: Activity;
    readonly signal: AbortSignal;
  },
): UpOptions {
  const { keep, outputDir } = command.opts() as { keep?: true; outputDir?: string };
  return {
    plan: planOptionsOf(context, command, verb, loaded),
    keepFailed: keep === true,
    outputDir,
    lockWaitMs: context.settings(command).get("container.lock_wait"),
    activity,
    signal,
    log: context.log,
  };
}
