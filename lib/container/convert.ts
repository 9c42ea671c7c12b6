/**
 * Writes a CVS cluster file in the native form, with what could not be carried as comments.
 *
 * @module
 */
import { escapeForTerminal } from "../host/logfmt.ts";
import { fromCvs, isCvs } from "./cvs.ts";
import { badSpec } from "./spec_load.ts";
import { Faults, parseNodes, type ScalarNode, type SpecNode } from "./spec_node.ts";
import { readSpec } from "./spec_read.ts";

/** The native form, as YAML and as JSON, and the notes that the YAML has as comments. */
export interface Conversion {
  readonly yaml: string;
  readonly json: unknown;
  readonly notes: readonly string[];
}

/** Converts the text of a CVS file; what is wrong with it is a Failure that names everything. */
export async function convertCvs(
  text: string,
  { path, user }: { path: string; user: string },
): Promise<Conversion> {
  const faults = new Faults();
  const nodes = await parseNodes(text, faults);
  if (nodes !== undefined && (nodes.kind !== "map" || !isCvs(nodes))) {
    throw badSpec(path, [
      "it is no CVS cluster file: there is no node_dict, no orchestrator and no container",
    ]);
  }
  if (nodes?.kind !== "map") throw badSpec(path, faults.texts);
  const { native, notes } = fromCvs(nodes, faults, { user });
  readSpec(native, faults, { absolute: (given) => given.replace(/^~(?=\/|$)/, "/"), defaults: {} });
  if (faults.texts.length > 0) throw badSpec(path, faults.texts);
  const json = plain(native);
  const { stringify } = await import("yaml");
  const comments = notes.map((note) => `# ${escapeForTerminal(note)}\n`).join("");
  const body = stringify(json, { lineWidth: 0, defaultStringType: "PLAIN", singleQuote: false });
  return { yaml: `${comments}${comments === "" ? "" : "\n"}${body}`, json, notes };
}

function plain(node: SpecNode): unknown {
  // A number as it was written: 1.0 in an environment is not 1.
  if (node.kind === "scalar") return typeof node.value === "number" ? writtenNumber(node) : node.value;
  if (node.kind === "list") return node.items.map(plain);
  return Object.fromEntries([...node.entries].map(([key, { node: value }]) => [key, plain(value)]));
}

function writtenNumber({ value, source }: ScalarNode): unknown {
  return String(value) === source ? value : source;
}
