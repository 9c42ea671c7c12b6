/**
 * Devices of this host for a container: globs, optional ones, and the presets of the GPU makers.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";
import type { ContainerSpec } from "../spec.ts";
import type { Runtime } from "./common.ts";

/** Where the host has what is looked for. */
export interface DevicePlaces {
  /** `/dev`, in front of which nothing stands; tests put a directory there. */
  readonly root: string;
  /** `/etc/group`. */
  readonly groups: string;
}

/** Flags for `create`, and what was left out. */
export interface DeviceFlags {
  readonly flags: readonly string[];
  readonly notes: readonly string[];
}

type DeviceSpec = Pick<ContainerSpec, "devices" | "gpus" | "groupAdd" | "name">;

/** Decides by what is on this host. `isRootless`: the user's own store, where no group number is to be had. */
export function deviceFlags(
  spec: DeviceSpec,
  runtime: Runtime,
  { isRootless, places }: { isRootless: boolean; places: DevicePlaces },
): DeviceFlags {
  const notes: string[] = [];
  const gpus = spec.gpus === "auto" ? presentGpus(places) : spec.gpus;
  const wanted = gpus === "amd" ? ["/dev/kfd", "-/dev/dri", ...spec.devices] : spec.devices;
  const devices = wanted.flatMap((device) => resolveDevice(device, spec, places, notes));
  const groups = [...spec.groupAdd];
  // By number: the names video and render are looked up in the container, which may lack them or number otherwise.
  if (gpus === "amd") groups.push(...isRootless ? [] : groupNumbers(["video", "render"], places));
  // The only way to keep them without root; it tolerates no other group beside it.
  if (gpus === "amd" && isRootless && groups.length === 0) groups.push("keep-groups");
  return {
    flags: [
      ...[...new Set(devices)].map((device) => `--device=${device}`),
      ...gpus === "nvidia" ? runtime.nvidiaFlags : [],
      ...[...new Set(groups)].map((group) => `--group-add=${group}`),
    ],
    notes,
  };
}

function presentGpus({ root }: DevicePlaces): "amd" | "nvidia" | "none" {
  if (exists(`${root}/kfd`)) return "amd";
  return exists(`${root}/nvidiactl`) || exists(`${root}/nvidia0`) ? "nvidia" : "none";
}

function resolveDevice(
  device: string,
  { name }: DeviceSpec,
  places: DevicePlaces,
  notes: string[],
): string[] {
  const isOptional = device.startsWith("-");
  const given = isOptional ? device.slice(1) : device;
  if (!given.startsWith("/")) return [given]; // a name of the Container Device Interface, vendor/class=name
  const [host = "", ...rest] = given.split(":");
  const found = (/[*?[]/.test(host) ? expand(host, places) : [host]).filter((path) =>
    exists(placed(path, places))
  );
  if (found.length > 0) {
    if (rest.length > 0 && found.length > 1) {
      throw deviceFailure(
        name,
        given,
        "it stands for several devices and has one target",
        "leave the target out",
      );
    }
    return found.map((path) => [path, ...rest].join(":"));
  }
  if (isOptional) {
    notes.push(`device "${given}" is not on this host, going on without it`);
    return [];
  }
  throw deviceFailure(
    name,
    given,
    "it is not on this host",
    `"-${given}" makes it optional; gpus: none leaves GPUs out`,
  );
}

function deviceFailure(name: string, device: string, what: string, hint: string): Failure {
  return new Failure("UNAVAILABLE", `Cannot create container "${name}" with device "${device}": ${what}`, {
    code: "missing_device",
    hint,
  });
}

/** A glob in the last part of the path only, as /dev/infiniband/uverbs*. */
function expand(pattern: string, places: DevicePlaces): string[] {
  const at = pattern.lastIndexOf("/");
  const directory = pattern.slice(0, at);
  const source = pattern.slice(at + 1).replace(/[.+^${}()|\\]/g, "\\$&").replaceAll("*", ".*").replaceAll(
    "?",
    ".",
  );
  try {
    const regexp = new RegExp(`^${source.replaceAll("[!", "[^")}$`);
    return [...Deno.readDirSync(placed(directory, places))].map(({ name }) => name)
      .filter((name) => regexp.test(name)).sort().map((name) => `${directory}/${name}`);
  } catch (error) {
    if (error instanceof SyntaxError || errnoOf(error) !== undefined) return []; // no such directory or pattern
    throw error;
  }
}

function placed(path: string, { root }: DevicePlaces): string {
  return path.startsWith("/dev/") ? root + path.slice("/dev".length) : path;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false; // absent, or in a directory that we may not look into: the runtime says more
  }
}

function groupNumbers(names: readonly string[], { groups }: DevicePlaces): string[] {
  try {
    return Deno.readTextFileSync(groups).split("\n").map((line) => line.split(":"))
      .filter(([name]) => names.includes(name ?? "")).map(([, , number]) => number ?? "").filter(Boolean);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return []; // a host without /etc/group has no such groups
  }
}
