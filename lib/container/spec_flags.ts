/**
 * The flags that say what a container is to be. They are the spec's own keys: a flag replaces a text of the file and
 * adds to its lists.
 *
 * @module
 */
import { listOf, type MapNode, mapOf, scalar, type SpecNode } from "./spec_node.ts";

/** One flag. */
export interface SpecFlag {
  /** Without the two dashes. */
  readonly flag: string;
  /** The key of the spec; those of `hosts` have a dot. */
  readonly key: string;
  readonly kind: "text" | "list" | "boolean" | "path";
  readonly placeholder: string;
  readonly description: string;
  /** Whether a command that only joins a container needs it, too. */
  readonly joins: boolean;
  /** The setting that declares this flag. */
  readonly setting?: "container.fan_out" | "container.runtime" | "container.sudo";
}

/** Values by flag, as the command line has them. */
export type SpecFlags = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

const CREATE: readonly (readonly [string, string, SpecFlag["kind"], string, string])[] = [
  ["lifetime", "lifetime", "text", "<word>", "no_launch, per_run or persistent (default: per_run)"],
  ["image", "image", "text", "<reference>", "the image"],
  ["image-tar", "image_tar", "text", "<file>", "on each host: an archive to load when the image is missing"],
  ["pull", "pull", "text", "<when>", "missing, always or never (default: missing)"],
  ["env", "env", "list", "<name=value>", "a variable of the container"],
  ["env-file", "env_file", "list", "<file>", "on each host: a file of NAME=VALUE lines"],
  ["volume", "volumes", "list", "<source:target[:options]>", "a mount"],
  ["device", "devices", "list", "<[-]path>", "a device; with - one that may be missing; globs are fine"],
  ["gpus", "gpus", "text", "<preset>", "amd, nvidia, none or auto (default: auto)"],
  ["cap-add", "cap_add", "list", "<capability>", "a capability to add"],
  ["security-opt", "security_opt", "list", "<option>", "a security option"],
  ["group-add", "group_add", "list", "<group>", "a supplementary group"],
  ["ulimit", "ulimits", "list", "<name=soft[:hard]>", "a limit"],
  ["network", "network", "text", "<mode>", "the network, such as host"],
  ["ipc", "ipc", "text", "<mode>", "the IPC namespace, such as host"],
  ["pid", "pid", "text", "<mode>", "the PID namespace, such as host"],
  ["hostname", "hostname", "text", "<name>", "the hostname inside"],
  ["privileged", "privileged", "boolean", "", "all capabilities and devices"],
  ["shm-size", "shm_size", "text", "<size>", "size of /dev/shm, such as 128G"],
  ["init", "init", "boolean", "", "an init as PID 1, which reaps"],
  ["user", "user", "text", "<user[:group]>", "who runs inside"],
  ["workdir", "workdir", "text", "<dir>", "the working directory inside"],
  ["restart", "restart", "text", "<policy>", "the runtime's restart policy, such as unless-stopped"],
  ["setup-script", "setup_script", "path", "<file>", "runs inside once, after creation"],
  ["start-script", "start_script", "path", "<file>", "runs inside after each start"],
  ["sshd-port", "sshd.port", "text", "<port>", "an sshd inside, for MPI between the hosts"],
  ["start-timeout", "start_timeout", "text", "<duration>", "until it runs, pull included (default: 15m)"],
  ["lease", "lease", "text", "<duration>", "gc may take it so long after its last use (default: never)"],
];

const JOIN: readonly (readonly [string, string, SpecFlag["kind"], string, string])[] = [
  ["name", "name", "text", "<name>", "the container's name"],
  ["hosts", "hosts.names", "list", "<a,b,…>", "the hosts, or some of those that the file names"],
  ["login", "hosts.user", "text", "<user>", "ssh: the login"],
  ["key-file", "hosts.key_file", "path", "<file>", "ssh: the private key"],
  ["fan-out-option", "hosts.options", "list", "<word>", "one more word for ssh or srun"],
];

/** Flags that are settings too: the file of a spec is stronger than what a setting says without its flag. */
const SETTINGS: readonly SpecFlag[] = [
  { ...made(true)(["fan-out", "hosts.kind", "text", "", ""]), setting: "container.fan_out" },
  { ...made(true)(["runtime", "runtime", "text", "", ""]), setting: "container.runtime" },
  { ...made(true)(["sudo", "sudo", "text", "", ""]), setting: "container.sudo" },
];

/** All of them. */
export const SPEC_FLAGS: readonly SpecFlag[] = [
  ...JOIN.map(made(true)),
  ...SETTINGS,
  ...CREATE.map(made(false)),
];

function made(joins: boolean) {
  return ([flag, key, kind, placeholder, description]: (typeof JOIN)[number]): SpecFlag => ({
    flag,
    key,
    kind,
    placeholder,
    description,
    joins,
  });
}

/** The hosts that `--hosts` names; commas divide. */
export function hostsOf(flags: SpecFlags): string[] | undefined {
  const given = flags.hosts;
  if (given === undefined || typeof given === "boolean") return undefined;
  return [given].flat().flatMap((text) => text.split(",")).map((name) => name.trim()).filter(Boolean);
}

/** Whether any flag says what to create. */
export function hasCreateFlags(flags: SpecFlags): boolean {
  return SPEC_FLAGS.some(({ flag, joins }) => !joins && flags[flag] !== undefined);
}

/** Lays `flags` over the spec of a file; paths are relative to `cwd`. `--hosts` only where the file names none. */
export function withFlags(file: MapNode, flags: SpecFlags, cwd: string): MapNode {
  const entries = new Map(file.entries);
  for (const { flag, key, kind } of SPEC_FLAGS) {
    const value = flags[flag];
    if (value === undefined || key.startsWith("hosts.")) continue;
    const place = `--${flag}`;
    const [outer = "", inner] = key.split(".");
    const node = nodeOf(kind, value, place, cwd);
    const before = entries.get(outer)?.node;
    entries.set(outer, { place, node: inner ? mapOf([[inner, node]], place) : appended(before, node) });
  }
  const hosts = hostsWith(entries.get("hosts")?.node, flags, cwd);
  if (hosts !== undefined) {
    entries.set("hosts", { place: entries.get("hosts")?.place ?? hosts.place, node: hosts });
  }
  return { ...file, entries };
}

function nodeOf(
  kind: SpecFlag["kind"],
  value: string | boolean | readonly string[],
  place: string,
  cwd: string,
) {
  if (kind === "boolean" || typeof value === "boolean") return scalar(value === true, place);
  if (kind === "list") return listOf([value].flat(), place);
  const text = [value].flat().at(-1) ?? "";
  const isRelative = kind === "path" && text !== "" && !/^[/~]/.test(text);
  return scalar(isRelative ? `${cwd}/${text}` : text, place);
}

/** A list goes behind what is there; of a map's pairs too, as the later of two equal names holds. */
function appended(before: SpecNode | undefined, node: SpecNode): SpecNode {
  if (node.kind !== "list" || before === undefined || before.kind === "scalar") return node;
  const items = before.kind === "list"
    ? before.items
    : [...before.entries].map(([name, { place, node: value }]) =>
      value.kind === "scalar" && value.value !== null
        ? scalar(`${name}=${typeof value.value === "string" ? value.value : value.source}`, place)
        : value
    );
  return { ...node, items: [...items, ...node.items] };
}

function hostsWith(before: SpecNode | undefined, flags: SpecFlags, cwd: string): SpecNode | undefined {
  const rows = SPEC_FLAGS.filter(({ flag, key }) => key.startsWith("hosts.") && flags[flag] !== undefined);
  const entries = new Map(before?.kind === "map" ? before.entries : []);
  if (before?.kind === "list") entries.set("names", { place: before.place, node: before });
  const had = entries.size;
  let changed = false;
  for (const { flag, key, kind } of rows) {
    const inner = key.slice("hosts.".length);
    const place = `--${flag}`;
    if (inner === "names") {
      if (entries.has("names")) continue;
      entries.set(inner, { place, node: listOf(hostsOf(flags) ?? [], place) });
    } else {
      const node = nodeOf(kind, flags[flag]!, place, cwd);
      entries.set(inner, { place, node: appended(entries.get(inner)?.node, node) });
    }
    changed = true;
  }
  if (!changed) return before;
  const place = had > 0 ? before!.place : `--${rows[0]!.flag}`;
  return { kind: "map", place, entries };
}
