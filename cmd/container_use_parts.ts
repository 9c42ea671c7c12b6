/**
 * What commands that use containers and change none have in common: which of them may be used.
 *
 * @module
 */
import type { Command, CommandUnknownOpts } from "@commander-js/extra-typings";
import type { UseOptions } from "../lib/container/usable.ts";
import { whole } from "./container_exec_parts.ts";
import type { Context } from "./context.ts";

/** As commander gives them. */
export interface UseFlags {
  readonly adopt?: true;
  readonly unready?: true;
  readonly allowMissing: number;
}

/** Adds the flags. */
export function addUseOptions(command: CommandUnknownOpts): void {
  (command as unknown as Command)
    .option("--adopt", "use what another made under this name, too")
    .option("--unready", "use what was not provisioned to the end, too")
    .option("--allow-missing <number>", "go on without so many hosts of which nothing is known", whole, 0);
}

/** Options of lib/container/usable.ts; a spec that is only a name says nothing about drift. */
export function useOptions(
  context: Context,
  { flags, owner, isComplete }: { flags: UseFlags; owner: string; isComplete: boolean },
): UseOptions {
  return {
    owner,
    adopt: flags.adopt === true,
    isUnreadyFine: flags.unready === true,
    allowMissing: flags.allowMissing,
    drift: isComplete ? "warn" : "skip",
    log: context.log,
  };
}
