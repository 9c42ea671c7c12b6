/**
 * The hosts of a CVS cluster file.
 *
 * @module
 */
import { shown, textOf } from "./spec_fields.ts";
import { type Faults, type ListNode, type MapNode, mapOf, scalar, type SpecNode } from "./spec_node.ts";

/** Says what cannot be carried, or is not as in CVS. */
export type Note = (place: string, text: string) => void;

/** Reads node_dict, a map of hosts or a list of {mgmt_ip}, as native `hosts`; the head first, as ranks go by order. */
export function readCvsHosts(
  outer: MapNode,
  faults: Faults,
  note: Note,
): { node: SpecNode | undefined; count: number } {
  const found = outer.entries.get("node_dict");
  if (found === undefined) return { node: undefined, count: 0 };
  const rows: { name: string; place: string; address: SpecNode | undefined }[] = [];
  if (found.node.kind === "map") {
    for (const [name, { place, node }] of found.node.entries) {
      const address = node.kind === "map" ? node.entries.get("vpc_ip")?.node : undefined;
      rows.push({ name, place, address: isGiven(address) ? address : undefined });
    }
  } else if (found.node.kind === "list") {
    for (const item of found.node.items) {
      const name = item.kind === "map" ? item.entries.get("mgmt_ip")?.node : undefined;
      const address = item.kind === "map" ? item.entries.get("vpc_ip")?.node : undefined;
      const text = name && textOf(name);
      if (text === undefined) faults.add(item.place, "node_dict wants mgmt_ip of each host");
      else rows.push({ name: text, place: item.place, address: isGiven(address) ? address : undefined });
    }
  }
  if (rows.length === 0) faults.add(found.place, "node_dict wants hosts");
  putHeadFirst(rows, outer, faults, note);
  const names: ListNode = {
    kind: "list",
    place: found.place,
    items: rows.map(({ name, place, address }) =>
      address === undefined || textOf(address) === name
        ? scalar(name, place)
        : mapOf([["name", scalar(name, place)], ["address", address]], place)
    ),
  };
  const node = mapOf([
    ["kind", scalar("ssh", found.place)],
    ["user", outer.entries.get("username")?.node],
    ["key_file", outer.entries.get("priv_key_file")?.node],
    ["names", names],
  ], found.place);
  return { node, count: rows.length };
}

function isGiven(node: SpecNode | undefined): boolean {
  const text = node && textOf(node);
  return text !== undefined && text !== "" && text.toUpperCase() !== "NA";
}

function putHeadFirst(
  rows: { name: string; address: SpecNode | undefined }[],
  outer: MapNode,
  faults: Faults,
  note: Note,
): void {
  const dict = outer.entries.get("head_node_dict")?.node;
  const found = dict?.kind === "map" ? dict.entries.get("mgmt_ip") : undefined;
  const head = found && textOf(found.node);
  if (found === undefined || head === undefined || head === "") return;
  const at = rows.findIndex(({ name, address }) => name === head || (address && textOf(address) === head));
  if (at < 0) {
    return faults.add(
      found.place,
      `head_node_dict.mgmt_ip is ${shown(head)}, wanted one of node_dict's hosts`,
    );
  }
  if (at > 0) {
    note(
      found.place,
      `the head node ${shown(head)} comes first, as documented; CVS takes the first of node_dict`,
    );
  }
  rows.unshift(...rows.splice(at, 1));
}
