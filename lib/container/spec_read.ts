/**
 * Reads the native form of a spec: every field, its check and its default. What is wrong is added to the faults, all
 * of it; the result is only of use when there are none.
 *
 * @module
 */
import {
  absolutePath,
  anyText,
  containerName,
  containerUser,
  device,
  envName,
  hostName,
  imageName,
  parseMemory,
  registryUser,
  ulimit,
  volume,
  word,
} from "./spec_checks.ts";
import { FieldReader, shown } from "./spec_fields.ts";
import { readHosts } from "./spec_hosts.ts";
import type { Faults, MapNode } from "./spec_node.ts";
import type {
  ContainerSpec,
  FanOutKind,
  Lifetime,
  RuntimeName,
  SpecRegistry,
  SpecSshd,
  SudoMode,
} from "./spec.ts";

/** Where sshd listens in the container, as CVS has it. */
export const SSHD_PORT = 2224;
/** A 61 GB pull on a cold node takes nine minutes. */
const START_TIMEOUT_MS = 900_000;
const START_TIMEOUT_LIMIT_MS = 86_400_000;
const LIFETIMES: readonly Lifetime[] = ["no_launch", "per_run", "persistent"];
const RUNTIMES: readonly RuntimeName[] = ["docker", "podman"];
const SUDO_MODES: readonly SudoMode[] = ["auto", "never", "always"];
const PULLS = ["missing", "always", "never"] as const;
const GPUS = ["amd", "nvidia", "none", "auto"] as const;

/** A script by its path, before it is read; `packaged` where the key is there without a value. */
export type ScriptField = { readonly kind: "packaged" } | {
  readonly kind: "path";
  readonly path: string;
  readonly place: string;
};

/** A spec whose scripts and name are still to be found. */
export interface ReadSpec {
  readonly spec: Omit<ContainerSpec, "name" | "setup" | "everyStart">;
  readonly name: string | undefined;
  readonly setup: ScriptField | undefined;
  readonly everyStart: ScriptField | undefined;
}

/** What the settings say, weaker than a spec. */
export interface SpecDefaults {
  readonly runtime?: RuntimeName | undefined;
  readonly sudo?: SudoMode | undefined;
  readonly fanOut?: FanOutKind | undefined;
}

/** What reading needs to know. */
export interface ReadOptions {
  /** Makes a path of this machine absolute; adds a fault where that cannot be. */
  readonly absolute: (path: string, place: string) => string;
  /** What holds where the spec does not say. */
  readonly defaults: SpecDefaults;
}

/** Reads the map of a whole spec. */
export function readSpec(map: MapNode, faults: Faults, { absolute, defaults }: ReadOptions): ReadSpec {
  const fields = new FieldReader(map, faults);
  const name = fields.text("name", containerName);
  const lifetime = fields.choice("lifetime", LIFETIMES) ?? "per_run";
  const hosts = readHosts(fields.node("hosts")?.node, faults, { absolute, fanOut: defaults.fanOut });
  const spec = {
    ...readImage(fields),
    runtime: fields.choice("runtime", RUNTIMES) ?? defaults.runtime ?? "docker",
    sudo: fields.choice("sudo", SUDO_MODES) ?? defaults.sudo ?? "auto",
    ...hosts,
    ...readMachine(fields),
    ...readProcess(fields),
    lifetime,
    ...optional("sshd", readSshd(fields)),
    startTimeoutMs: fields.duration("start_timeout", START_TIMEOUT_LIMIT_MS) ?? START_TIMEOUT_MS,
    ...optional("leaseMs", fields.duration("lease")),
  };
  const setup = readScript(fields, "setup_script", absolute);
  const everyStart = readScript(fields, "start_script", absolute);
  fields.done();
  if (lifetime === "persistent" && !map.entries.has("name")) {
    faults.add("", "name is missing: what is persistent is found again by its name");
  }
  return { spec, name, setup, everyStart };
}

function readImage(fields: FieldReader) {
  const registry = fields.group("registry", (group): SpecRegistry | undefined => {
    const server = group.text("server", word) ?? "";
    const username = group.text("username", registryUser);
    const passwordFile = group.text("password_file", absolutePath);
    for (const key of ["username", "password_file"]) {
      if (!group.map.entries.has(key)) group.fault(key, "is missing");
    }
    return username === undefined || passwordFile === undefined
      ? undefined
      : { server, username, passwordFile };
  });
  return {
    image: fields.text("image", imageName) ?? "",
    ...optional("imageTar", fields.text("image_tar", absolutePath)),
    pull: fields.choice("pull", PULLS) ?? "missing",
    ...optional("registry", registry),
  };
}

function readMachine(fields: FieldReader) {
  return {
    volumes: fields.list("volumes", volume),
    devices: fields.list("devices", device),
    gpus: fields.choice("gpus", GPUS) ?? "auto",
    capAdd: fields.list("cap_add", word),
    securityOpt: fields.list("security_opt", word),
    groupAdd: fields.list("group_add", word),
    ulimits: readUlimits(fields),
    ...optional("network", fields.text("network", word)),
    ...optional("ipc", fields.text("ipc", word)),
    ...optional("pid", fields.text("pid", word)),
    ...optional("hostname", fields.text("hostname", hostName)),
    privileged: fields.boolean("privileged") ?? false,
    ...optional("shmSizeBytes", fields.parsed("shm_size", parseMemory)),
  };
}

function readProcess(fields: FieldReader) {
  const entrypoint = fields.list("entrypoint", anyText);
  const command = fields.list("command", anyText);
  const hasEntrypoint = fields.map.entries.has("entrypoint");
  const hasCommand = fields.map.entries.has("command");
  return {
    env: fields.pairs("env", envName, anyText),
    envFiles: fields.list("env_file", absolutePath),
    init: fields.boolean("init") ?? false,
    // An image's own entrypoint would take "sleep infinity" for its arguments, and end.
    ...hasEntrypoint ? { entrypoint } : hasCommand ? {} : { entrypoint: [] },
    command: hasCommand ? command : hasEntrypoint ? [] : ["sleep", "infinity"],
    ...optional("user", fields.text("user", containerUser)),
    ...optional("workdir", fields.text("workdir", absolutePath)),
    ...optional("restart", fields.text("restart", word)),
  };
}

function readUlimits(fields: FieldReader): string[] {
  if (fields.node("ulimits")?.node.kind !== "map") return fields.list("ulimits", ulimit);
  const pairs = Object.entries(fields.pairs("ulimits", () => undefined, () => undefined));
  return pairs.flatMap(([name, limits]) => {
    const text = `${name}=${limits}`;
    const wanted = ulimit(text);
    if (wanted !== undefined) fields.fault("ulimits", `has ${shown(text)}, wanted ${wanted}`);
    return wanted === undefined ? [text] : [];
  });
}

/** `sshd: true`, `sshd: false` or `sshd: {port: 2224}`. */
function readSshd(fields: FieldReader): SpecSshd | undefined {
  const node = fields.node("sshd")?.node;
  if (node === undefined || node.kind !== "map") {
    return fields.boolean("sshd") ? { port: SSHD_PORT } : undefined;
  }
  const port = fields.group("sshd", (group) => group.parsed("port", parsePort)) ?? SSHD_PORT;
  return { port };
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new SyntaxError("a port from 1 to 65535");
  return port;
}

function readScript(
  fields: FieldReader,
  key: string,
  absolute: ReadOptions["absolute"],
): ScriptField | undefined {
  const found = fields.node(key);
  if (found === undefined) return undefined;
  const { place, node } = found;
  if (node.kind === "scalar" && (node.value === null || node.value === "")) return { kind: "packaged" };
  const path = fields.text(key, anyText);
  return path === undefined ? undefined : { kind: "path", path: absolute(path, place), place };
}

/** An entry where there is a value, nothing where there is none: the types tell absent from undefined. */
function optional<K extends string, T>(key: K, value: T | undefined): { [P in K]?: T } {
  return value === undefined ? {} : { [key]: value } as { [P in K]?: T };
}
