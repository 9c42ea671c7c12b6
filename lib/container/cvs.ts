/**
 * Reads a cluster file of ROCm's CVS as it is and gives the native form, in which every default of CVS is written
 * out. What CVS ignores without a word but the file asks for (shm_size, env beside the runtime's arguments) is
 * carried; what cannot be carried is noted. Keys that begin with `_` are CVS's comments.
 *
 * @module
 */
import { type Note, readCvsHosts } from "./cvs_hosts.ts";
import { REMOVED, shown, textOf } from "./spec_fields.ts";
import { type Faults, listOf, type MapNode, mapOf, nearest, scalar, type SpecNode } from "./spec_node.ts";

/** CVS's DEFAULT_CONTAINER_ARGS; lists of the file go behind them, scalars replace them. */
const DEFAULTS = {
  // CVS adds every file below /dev/infiniband by a shell loop, and fails without one when not privileged.
  devices: ["/dev/kfd", "/dev/dri", "-/dev/infiniband/*"],
  cap_add: ["SYS_PTRACE", "IPC_LOCK", "SYS_ADMIN"],
  security_opt: ["seccomp=unconfined", "apparmor=unconfined"],
  group_add: ["video"],
  ulimits: ["memlock=-1"],
} as const;
const DEFAULT_ENV = [["GPUS", "8"], ["MULTINODE", "true"]] as const;

const OUTER_KEYS = [
  "orchestrator",
  "username",
  "priv_key_file",
  "password",
  "head_node_dict",
  "env_vars",
  "node_dict",
  "container",
];
const CONTAINER_KEYS = [
  "lifetime",
  "image",
  "name",
  "setup_script",
  "env",
  "image_tar",
  "volumes",
  "runtime",
];
/** Of runtime.args, with the native key of each; `null` has a rule of its own. */
const ARGS_KEYS: Readonly<Record<string, string | null>> = {
  volumes: null,
  devices: "devices",
  cap_add: "cap_add",
  security_opt: "security_opt",
  group_add: "group_add",
  ulimit: "ulimits",
  network: null,
  ipc: null,
  privileged: null,
  registry: null,
  env: null,
  shm_size: "shm_size",
  init: "init",
  entrypoint: "entrypoint",
  user: "user",
  workdir: "workdir",
  pid: "pid",
  hostname: "hostname",
  restart: "restart",
};
/** What CVS ignores in runtime.args without a word. */
const IGNORED_BY_CVS = ["shm_size", "init", "entrypoint", "user", "workdir", "pid", "hostname", "restart"];

/** The native form, and what has no place in it. */
export interface Converted {
  readonly native: MapNode;
  readonly notes: readonly string[];
}

/** Whether a map is a CVS cluster file rather than a native spec. */
export function isCvs(map: MapNode): boolean {
  return ["node_dict", "orchestrator", "container"].some((key) => map.entries.has(key));
}

/** Converts; `user` is what {user-id} stands for. Faults name CVS's keys and lines. */
export function fromCvs(file: MapNode, faults: Faults, { user }: { user: string }): Converted {
  const notes: string[] = [];
  const outer = cleaned(file, user, faults) as MapNode;
  const note = (place: string, text: string) => void notes.push(`${place}: ${text}`);
  checkOuter(outer, faults, note);
  const container = mapAt(outer, "container", "", faults);
  const runtime = mapAt(container, "runtime", "container.", faults);
  const args = mapAt(runtime, "args", "container.runtime.", faults);
  checkKeys(container, CONTAINER_KEYS, "container.", faults);
  checkKeys(runtime, ["name", "args"], "container.runtime.", faults);
  checkKeys(args, Object.keys(ARGS_KEYS), "container.runtime.args.", faults);
  const hosts = readCvsHosts(outer, faults, note);

  const at = (map: MapNode, key: string) => map.entries.get(key)?.node;
  const place = container.place;
  const or = (key: string, value: string | boolean) => at(args, key) ?? scalar(value, place);
  const behind = (defaults: readonly string[], node: SpecNode | undefined): SpecNode =>
    node === undefined
      ? listOf(defaults, place)
      : node.kind === "list"
      ? { ...node, items: [...listOf(defaults, place).items, ...node.items] }
      : node;
  for (const key of IGNORED_BY_CVS) {
    const found = args.entries.get(key);
    if (found !== undefined) {
      note(found.place, `container.runtime.args.${key} is carried; CVS itself ignores it`);
    }
  }
  if (args.entries.has("env")) {
    note(args.entries.get("env")!.place, "container.runtime.args.env is carried; CVS itself fails on it");
  }
  if (container.entries.has("volumes")) {
    note(container.entries.get("volumes")!.place, "container.volumes is carried; CVS itself ignores it");
  }
  note(
    place,
    "the mount of ~/.ssh at /host_ssh is not carried: no private key of yours goes into a container; " +
      "sshd gets keys that are made for it alone",
  );
  noteName(container, user, note);
  const native = mapOf([
    ["name", at(container, "name")],
    ["lifetime", at(container, "lifetime")],
    ["image", at(container, "image")],
    ["image_tar", at(container, "image_tar")],
    ["registry", readRegistry(at(args, "registry"))],
    ["hosts", hosts.node],
    ["runtime", at(runtime, "name")],
    ["env", readEnv([at(container, "env"), at(args, "env")], place)],
    ["volumes", joined(at(args, "volumes"), at(container, "volumes"))],
    ["gpus", scalar("none", place)], // the devices are named below
    ...(["devices", "cap_add", "security_opt", "group_add"] as const).map((key) =>
      [key, behind(DEFAULTS[key], at(args, key))] as const
    ),
    ["ulimits", behind(DEFAULTS.ulimits, at(args, "ulimit"))],
    ["network", or("network", "host")],
    ["ipc", or("ipc", "host")],
    ["privileged", or("privileged", true)],
    ...IGNORED_BY_CVS.map((key) => [key, at(args, key)] as const),
    ["sshd", hosts.count > 1 ? scalar(true, place) : undefined],
    ["setup_script", at(container, "setup_script")],
  ], place);
  return { native, notes };
}

/** Without comments, {user-id} replaced; <changeme> is a fault. */
function cleaned(node: SpecNode, user: string, faults: Faults): SpecNode {
  const fill = (text: string, place: string) => {
    if (text.includes("<changeme>")) faults.add(place, "<changeme> is to be replaced");
    return text.replaceAll("{user-id}", user);
  };
  if (node.kind === "list") return { ...node, items: node.items.map((item) => cleaned(item, user, faults)) };
  if (node.kind === "scalar") {
    return typeof node.value === "string" ? scalar(fill(node.value, node.place), node.place) : node;
  }
  const entries = [...node.entries].filter(([key]) => !key.startsWith("_")).map((
    [key, { place, node: value }],
  ) => [fill(key, place), { place, node: cleaned(value, user, faults) }] as const);
  return { ...node, entries: new Map(entries) };
}

function checkOuter(outer: MapNode, faults: Faults, note: Note): void {
  for (const key of ["node_dict", "username", "priv_key_file", "container"]) {
    if (!outer.entries.has(key)) faults.add(outer.place, `${key} is missing`);
  }
  const orchestrator = outer.entries.get("orchestrator");
  const kind = orchestrator && textOf(orchestrator.node)?.toLowerCase();
  if (orchestrator !== undefined && kind !== "container") {
    faults.add(
      orchestrator.place,
      `orchestrator is ${
        shown(kind ?? orchestrator.node.kind)
      }, wanted "container": only that has containers`,
    );
  }
  const password = outer.entries.get("password");
  if (password !== undefined) note(password.place, "password is not carried: ssh logs in by key or agent");
  const env = outer.entries.get("env_vars");
  if (env?.node.kind === "map" && env.node.entries.size > 0) {
    note(
      env.place,
      "env_vars is not carried: CVS does not read it either; what a container needs is its env",
    );
  }
  for (const [key, { place }] of outer.entries) {
    if (OUTER_KEYS.includes(key)) continue;
    const meant = nearest(key, OUTER_KEYS);
    note(place, `${shown(key)} is not carried${meant === undefined ? "" : ` (did you mean "${meant}"?)`}`);
  }
}

/** A typing error here would silently make another container: stricter than CVS. */
function checkKeys(map: MapNode, known: readonly string[], prefix: string, faults: Faults): void {
  for (const [key, { place }] of map.entries) {
    if (known.includes(key)) continue;
    const removed = prefix === "container." && Object.hasOwn(REMOVED, key) ? REMOVED[key] : undefined;
    if (removed !== undefined) {
      faults.add(place, `${prefix}${key} ${removed.replaceAll("lifetime", "container.lifetime")}`);
      continue;
    }
    const meant = nearest(key, known);
    faults.add(
      place,
      `unknown key ${shown(prefix + key)}${
        meant === undefined ? " (a key that begins with _ is a comment)" : ` (did you mean "${meant}"?)`
      }`,
    );
  }
}

function mapAt(map: MapNode, key: string, prefix: string, faults: Faults): MapNode {
  const found = map.entries.get(key);
  if (found?.node.kind === "map") return found.node;
  if (found !== undefined) faults.add(found.place, `${prefix}${key} wants a map`);
  return mapOf([], found?.place ?? map.place);
}

function readRegistry(node: SpecNode | undefined): SpecNode | undefined {
  if (node?.kind !== "map") return node;
  // CVS takes "" for docker's own registry, as docker does.
  const entries = [...node.entries].filter(([key, { node: value }]) =>
    key !== "server" || textOf(value) !== ""
  );
  return { ...node, entries: new Map(entries) };
}

function readEnv(nodes: readonly (SpecNode | undefined)[], place: string): SpecNode {
  const entries = new Map<string, { place: string; node: SpecNode }>(
    DEFAULT_ENV.map(([name, value]) => [name, { place, node: scalar(value, place) }]),
  );
  for (const node of nodes) {
    if (node === undefined) continue;
    if (node.kind !== "map") return node;
    for (const [name, entry] of node.entries) entries.set(name, entry);
  }
  return { kind: "map", place, entries };
}

function joined(first: SpecNode | undefined, second: SpecNode | undefined): SpecNode | undefined {
  if (first?.kind === "list" && second?.kind === "list") {
    return { ...first, items: [...first.items, ...second.items] };
  }
  return first ?? second;
}

function noteName(container: MapNode, user: string, note: Note): void {
  const image = container.entries.get("image");
  if (container.entries.has("name") || image === undefined) return;
  const theirs = `${user}_${(textOf(image.node) ?? "").replace(/[^A-Za-z0-9_]/g, "_")}`;
  note(
    image.place,
    `container.name is not set: CVS calls it ${shown(theirs)}, davit does not; set it to find that one`,
  );
}
