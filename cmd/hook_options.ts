/**
 * What the commands that talk to a hook server have in common: the flags that name it, and the signals.
 *
 * @module
 */
import { type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { Failure } from "../lib/failure.ts";
import type { HookClient } from "../lib/hook/client.ts";
import type { Context } from "./context.ts";

const SERVER = "DAVIT_HOOK_SERVER";
const TOKEN_FILE = "DAVIT_HOOK_TOKEN_FILE";
const NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 };

/** Adds the flags that say where the server is. */
export function addServerOptions(command: CommandUnknownOpts): void {
  command
    .addOption(new Option("--server <address>", `/path/of.sock or host:port (env: ${SERVER})`))
    .addOption(new Option("--token-file <file>", `file with the server's token (env: ${TOKEN_FILE})`));
}

/** A client of the server that the flags of `command` or variables name. */
export async function connect(context: Context, command: CommandUnknownOpts): Promise<HookClient> {
  const flags = command.opts() as { server?: string; tokenFile?: string };
  const { parseServer } = await import("../lib/hook/address.ts");
  const { HookClient } = await import("../lib/hook/client.ts");
  const { readTokenFile } = await import("../lib/hook/server_token.ts");
  const address = parseServer(wanted(flags.server ?? context.env[SERVER], "--server", SERVER));
  const path = wanted(flags.tokenFile ?? context.env[TOKEN_FILE], "--token-file", TOKEN_FILE);
  const token = readTokenFile(path, { unlinks: false });
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

function wanted(value: string | undefined, flag: string, variable: string): string {
  if (value !== undefined && value !== "") return value;
  throw new Failure("USAGE", `Cannot find the hook server: neither ${flag} nor ${variable} is given`, {
    code: "usage",
    hint: "`davit hook serve` prints its address when it starts, and was given the token file",
  });
}
