/**
 * Runs a script in a container: copied in as a file, so that it may be of any size and read its own stdin, which is
 * at its end. Always as root: it installs programs.
 *
 * @module
 */
import type { CallContext } from "../../host/fan_out/rpc.ts";
import type { Log } from "../../host/log.ts";
import type { ExecEnd } from "../host_methods.ts";
import type { Cli } from "./cli.ts";
import { execIn } from "./exec.ts";
import { type TarFile, writeTar } from "./tar.ts";

/** Where davit has its files in a container. */
export const OWN_DIRECTORY = ".davit";

/** Copies small files in; works also where the container does not run. Names are relative to the root. */
export async function putFiles(
  cli: Cli,
  { id, name }: { id: string; name: string },
  files: readonly TarFile[],
  signal: AbortSignal,
): Promise<void> {
  const archive = writeTar([{ name: `${OWN_DIRECTORY}/`, mode: 0o755 }, ...files]);
  await cli.must(["cp", "-", `${id}:/`], `copy files into container "${name}"`, { signal, stdin: archive });
}

/** What is to run. */
export interface ScriptRequest {
  readonly id: string;
  readonly name: string;
  readonly text: string;
  /** A file name. */
  readonly label: string;
  readonly timeoutMs: number;
  readonly env: Readonly<Record<string, string>>;
}

const GRACE_MS = 5_000;
const SHELL_CHOICE =
  'if command -v bash > /dev/null 2>&1; then exec bash -e -o pipefail "$0"; else exec sh -e "$0"; fi';

/** Runs it by its `#!` line; without one by bash, which stops at the first error also in a pipe, or else by sh. */
export async function runScript(
  cli: Cli,
  { text, label, ...request }: ScriptRequest,
  context: Pick<CallContext, "signal" | "send" | "input" | "messages">,
  log: Log,
): Promise<ExecEnd> {
  const file = `${OWN_DIRECTORY}/${label}`;
  await putFiles(cli, request, [{ name: file, mode: 0o700, data: text }], context.signal);
  const call = { ...request, user: "0", tty: false, stdin: false, graceMs: GRACE_MS };
  const argv = text.startsWith("#!") ? [`/${file}`] : ["sh", "-c", SHELL_CHOICE, `/${file}`];
  return await execIn(cli, { ...call, argv }, context, log);
}
