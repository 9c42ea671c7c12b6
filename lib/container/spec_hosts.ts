/**
 * The hosts of a spec and how they are reached: a list of names (ssh), a map with a kind, or nothing (this machine).
 *
 * @module
 */
import { anyText, hostName, loginName } from "./spec_checks.ts";
import { FieldReader, shown, textOf } from "./spec_fields.ts";
import type { Faults, SpecNode } from "./spec_node.ts";
import type { FanOutKind, SpecFanOut, SpecHost } from "./spec.ts";

/** How a spec names its hosts. Slurm without names means all of the allocation, found when it is needed. */
export interface HostsField {
  readonly hosts: readonly SpecHost[];
  readonly fanOut: SpecFanOut;
}

/** This machine, where a spec names no hosts. */
export const LOCAL: HostsField = {
  hosts: [{ name: "localhost", address: "localhost" }],
  fanOut: { kind: "local", options: [] },
};

/** What reading hosts needs to know. */
export interface HostsOptions {
  /** Makes a path of this machine absolute. */
  readonly absolute: (path: string, place: string) => string;
  /** Holds where the spec does not say. */
  readonly fanOut?: FanOutKind | undefined;
}

const KINDS: readonly FanOutKind[] = ["local", "ssh", "slurm"];

/** Reads the value of `hosts`. */
export function readHosts(
  node: SpecNode | undefined,
  faults: Faults,
  { absolute, fanOut: usual }: HostsOptions,
): HostsField {
  if (node === undefined) {
    return usual === "slurm" ? { hosts: [], fanOut: { kind: usual, options: [] } } : LOCAL;
  }
  if (node.kind === "list") {
    const hosts = readNames(node, faults);
    if (node.items.length === 0) faults.add(node.place, "hosts is empty (leave it out to mean this machine)");
    return { hosts, fanOut: { kind: usual === "slurm" ? "slurm" : "ssh", options: [] } };
  }
  if (node.kind === "scalar") {
    faults.add(node.place, "hosts wants a list of names, or a map such as {kind: slurm}");
    return LOCAL;
  }
  const fields = new FieldReader(node, faults, "hosts.");
  const names = fields.node("names")?.node;
  const kind = fields.choice("kind", KINDS) ??
    (usual === "slurm" ? "slurm" : names === undefined ? "local" : "ssh");
  const user = fields.text("user", loginName);
  const keyText = fields.text("key_file", anyText);
  const key = keyText === undefined
    ? undefined
    : absolute(keyText, node.entries.get("key_file")?.place ?? node.place);
  const options = fields.list("options", anyText);
  fields.done();
  const hosts = names === undefined ? [] : readNames(names, faults);
  if (kind === "ssh" && names === undefined) faults.add(node.place, "hosts.names is missing");
  if (kind === "local" && hosts.length > 1) {
    faults.add(node.place, "hosts.names has more than one name, but kind is local: that is this machine");
  }
  // A file that was written for ssh may be used in an allocation, by --fan-out slurm.
  const isOverridden = node.entries.get("kind")?.place.startsWith("--") === true;
  if (kind !== "ssh" && !isOverridden && (user ?? key) !== undefined) {
    faults.add(node.place, `hosts.user and hosts.key_file are for ssh, but kind is ${kind}`);
  }
  return {
    hosts: kind === "local" && hosts.length === 0 ? LOCAL.hosts : hosts,
    fanOut: {
      kind,
      options,
      ...kind === "ssh" && user !== undefined && { user },
      ...kind === "ssh" && key !== undefined && { keyFile: key },
    },
  };
}

function readNames(node: SpecNode, faults: Faults): SpecHost[] {
  if (node.kind !== "list") {
    faults.add(node.place, "hosts wants a list of names");
    return [];
  }
  const hosts = node.items.flatMap((item): SpecHost[] => {
    if (item.kind === "map") {
      const fields = new FieldReader(item, faults, "hosts.");
      const name = fields.text("name", hostName);
      const address = fields.text("address", hostName);
      fields.done();
      if (!item.entries.has("name")) faults.add(item.place, "hosts.name is missing");
      return name === undefined ? [] : [{ name, address: address ?? name }];
    }
    const name = textOf(item);
    const wanted = name === undefined ? "a host name" : hostName(name);
    if (wanted !== undefined) {
      faults.add(item.place, `hosts has ${shown(name ?? item.kind)}, wanted ${wanted}`);
    }
    return name === undefined || wanted !== undefined ? [] : [{ name, address: name }];
  });
  const seen = new Set<string>();
  for (const { name } of hosts) {
    if (seen.has(name)) faults.add(node.place, `hosts has ${shown(name)} twice`);
    seen.add(name);
  }
  return hosts;
}
