/**
 * What the commands that talk to a hook server have in common: the flags that name it, and the signals.
 *
 * @module
 */
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { Failure } from "../lib/failure.ts";
import type { HookClient } from "../lib/hook/client.ts";
import { flagOf, variableOf } from "../lib/settings.ts";
import type { Context, SettingsView } from "./context.ts";
import { addSettings } from "./options.ts";

const NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 };

/** Adds the flags that say where the server is. */
export function addServerOptions(command: CommandUnknownOpts): void {
  addSettings(command, ["hook.server", "hook.token_file"]);
}

/** A client of the server that the flags of `command`, variables or a file name. */
export async function connect(context: Context, command: CommandUnknownOpts): Promise<HookClient> {
  const settings = context.settings(command);
  const { parseServer } = await import("../lib/hook/address.ts");
  const { HookClient } = await import("../lib/hook/client.ts");
  const { readTokenFile } = await import("../lib/hook/server_token.ts");
  const address = parseServer(wanted(settings, "hook.server"));
  const token = readTokenFile(wanted(settings, "hook.token_file"), { unlinks: false });
  return new HookClient({ address, token });
}

/** Gives `handler` the signals that ask for an end and `more`, but for those that we were started to ignore. */
export function listenFor(
  context: Context,
  more: readonly Deno.Signal[],
  handler: (name: Deno.Signal) => void,
): void {
  context.takeSignals(more, (name) => {
    if (!context.ignoredSignals.has(NUMBERS[name] ?? 0)) handler(name);
  });
}

function wanted(settings: SettingsView, key: "hook.server" | "hook.token_file"): string {
  const value = settings.get(key);
  if (value !== undefined) return value;
  const names = `neither ${flagOf(key)} nor ${variableOf(key)}`;
  throw new Failure("USAGE", `Cannot find the hook server: ${names} is given`, {
    code: "usage",
    hint: "`davit hook serve` prints its address when it starts, and was given the token file",
  });
}
