/**
 * What the commands of `container` have in common: the way to the hosts, from the spec and the settings.
 *
 * @module
 */
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { Hosts } from "../lib/container/hosts.ts";
import type { LoadedSpec } from "../lib/container/spec_load.ts";
import type { SpecFanOut } from "../lib/container/spec.ts";
import { EXIT, Failure } from "../lib/failure.ts";
import type { Connector } from "../lib/host/fan_out/rpc.ts";
import { VERSION } from "../lib/version.ts";
import type { Context, SettingsView } from "./context.ts";
import { addSettings } from "./options.ts";

/** Adds the settings that {@linkcode openHostsFor} reads and no spec says. */
export function addSessionOptions(command: CommandUnknownOpts): void {
  addSettings(command, [
    "container.parallel",
    "container.host_timeout",
    "container.agent",
    "container.agent_file",
  ]);
}

/** The hosts of a spec, and the spec with the hosts of the allocation filled in where it names none. */
export interface Session extends AsyncDisposable {
  readonly hosts: Hosts;
  readonly loaded: LoadedSpec;
}

/** Opens the way to the hosts; no host is asked yet. `signal` ends everything that goes on there. */
export async function openSession(
  context: Context,
  command: CommandUnknownOpts,
  loaded: LoadedSpec,
  signal = context.signal,
): Promise<Session> {
  const settings = context.settings(command);
  const filled = await withAllocation(context, loaded, signal);
  const { spec } = filled;
  const hosts = new Hosts({
    connector: await connectorOf(context, settings, spec.fanOut),
    names: filled.chosenHosts ?? spec.hosts.map(({ name }) => name),
    parallel: settings.get("container.parallel"),
    hostTimeoutMs: settings.get("container.host_timeout"),
    signal,
    version: VERSION,
  });
  return { hosts, loaded: filled, [Symbol.asyncDispose]: () => hosts[Symbol.asyncDispose]() };
}

async function withAllocation(
  context: Context,
  loaded: LoadedSpec,
  signal: AbortSignal,
): Promise<LoadedSpec> {
  const { spec } = loaded;
  if (spec.hosts.length > 0 || spec.fanOut.kind !== "slurm") return loaded;
  const { slurmHosts } = await import("../lib/host/fan_out/slurm.ts");
  const names = await slurmHosts({ options: spec.fanOut.options, env: context.env, signal });
  const hosts = names.map((name) => ({ name, address: name }));
  return { ...loaded, spec: { ...spec, hosts } };
}

async function connectorOf(
  context: Context,
  settings: SettingsView,
  { kind, user, keyFile, options }: SpecFanOut,
): Promise<Connector> {
  const { openConnector } = await import("../lib/host/fan_out/open_connector.ts");
  const { env, log } = context;
  if (kind === "local") {
    const { hostHandlers } = await import("../lib/container/agent/handlers.ts");
    return await openConnector({ kind, open: () => hostHandlers({ env, log }) });
  }
  const word = settings.get("container.agent");
  const file = settings.get("container.agent_file");
  const agent = word === undefined
    ? { kind: "push", ...file !== undefined && { file } } as const
    : { kind: "command", words: [word] } as const;
  if (kind === "slurm") return await openConnector({ kind, agent, options, env, log });
  return await openConnector({
    ...{ kind, agent, options, env, log },
    ...user !== undefined && { user },
    ...keyFile !== undefined && { keyFile },
  });
}

/** Ends with 4 after a result that leaves hosts out; the message names them. */
export function failForUnknown(what: string, names: readonly string[]): void {
  if (names.length === 0) return;
  throw new Failure(EXIT.UNKNOWN, `Cannot ${what} on ${names.join(", ")}: nothing is known of them`, {
    code: "unknown_hosts",
    hint: "what is left there is found later by `davit container gc`",
  });
}
