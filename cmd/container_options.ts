/**
 * The flags that name a container and say what it is to be; every command of `container` has them from here.
 *
 * @module
 */
import { type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import type { PlanOptions } from "../lib/container/plan.ts";
import type { LoadedSpec, LoadOptions } from "../lib/container/spec_load.ts";
import { SPEC_FLAGS, type SpecFlag, type SpecFlags } from "../lib/container/spec_flags.ts";
import type { Environment, Resolved } from "../lib/settings.ts";
import type { Context } from "./context.ts";
import { addSettings } from "./options.ts";

/** For commands that join what is there: the spec file, the name, the hosts and how to reach them. */
export function addJoinOptions(command: CommandUnknownOpts): void {
  command.option("-f, --file <spec>", "the spec: YAML or JSON, or a CVS cluster file");
  for (const flag of SPEC_FLAGS) {
    if (flag.joins && flag.setting === undefined) command.addOption(optionOf(flag));
  }
  addSettings(command, ["container.fan_out", "container.runtime", "container.sudo"]);
}

/** For commands that make containers: all that a spec may say. */
export function addCreateOptions(command: CommandUnknownOpts): void {
  addJoinOptions(command);
  for (const flag of SPEC_FLAGS) if (!flag.joins) command.addOption(optionOf(flag));
}

function optionOf({ flag, kind, placeholder, description }: SpecFlag): Option {
  const isMany = kind === "list";
  const option = new Option(
    `--${flag}${placeholder === "" ? "" : ` ${placeholder}`}`,
    isMany ? `${description}; may be repeated` : description,
  );
  if (isMany) option.argParser((text: string, before: string[] | undefined) => [...before ?? [], text]);
  return option as unknown as Option;
}

/** Loads the spec that the flags of `command` name. `needs`: see LoadOptions in lib/container/spec_load.ts. */
export async function loadFromOptions(
  context: Context,
  command: CommandUnknownOpts,
  needs: LoadOptions["needs"],
): Promise<LoadedSpec> {
  const { loadSpec } = await import("../lib/container/spec_load.ts");
  const given = new Map(
    command.options.map((option) => [option.long, command.getOptionValue(option.attributeName())]),
  );
  const settings = context.settings(command);
  const resolved = {
    "container.fan_out": settings.resolve("container.fan_out"),
    "container.runtime": settings.resolve("container.runtime"),
    "container.sudo": settings.resolve("container.sudo"),
  };
  const flags: Record<string, SpecFlags[string]> = {};
  for (const { flag, joins, setting } of SPEC_FLAGS) {
    // Of `exec`, --env and --user are its own.
    const isOfSpec = joins || needs === "create";
    const isGiven = setting === undefined || resolved[setting].origin.kind === "flag";
    if (isOfSpec && isGiven) flags[flag] = given.get(`--${flag}`) as SpecFlags[string];
  }
  return await loadSpec({
    file: given.get("--file") as string | undefined,
    flags,
    needs,
    defaults: {
      fanOut: unlessDefault(resolved["container.fan_out"]),
      runtime: unlessDefault(resolved["container.runtime"]),
      sudo: unlessDefault(resolved["container.sudo"]),
    },
    user: ownerOf(context.env),
    home: context.env.HOME,
    cwd: Deno.cwd(),
  });
}

function unlessDefault<T>({ value, origin }: Resolved<T>): T | undefined {
  return origin.kind === "default" ? undefined : value;
}

/** The flags that say how far a plan may go. */
export function addPlanOptions(command: CommandUnknownOpts): void {
  command
    .option("--fill", "make it on hosts where it is absent although others have it")
    .option("--replace", "where it would be refused: remove what is ours and make it anew on all hosts")
    .option("--ignore-drift", "take a container that was made from another spec as it is")
    .option(
      "--adopt",
      "join a container that davit did not make, by its name; it is never stopped or removed",
    )
    .option("--no-start", "refuse where something would have to be started");
}

/** What those flags say. */
export function planOptionsOf(
  context: Context,
  command: CommandUnknownOpts,
  what: PlanOptions["command"],
  { isComplete }: Pick<LoadedSpec, "isComplete">,
): PlanOptions {
  const given = command.opts() as Record<string, boolean | undefined>;
  return {
    command: what,
    owner: ownerOf(context.env),
    fill: given.fill === true,
    replace: given.replace === true,
    adopt: given.adopt === true,
    noStart: given.start === false,
    drift: !isComplete ? "skip" : given.ignoreDrift === true ? "warn" : "refuse",
  };
}

/** Whose containers they are: under sudo whoever called it, not root. */
export function ownerOf({ SUDO_USER, USER, LOGNAME }: Environment): string {
  const caller = Deno.uid() === 0 ? SUDO_USER : undefined;
  return caller || USER || LOGNAME || `uid${Deno.uid()}`;
}
