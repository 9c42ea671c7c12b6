/**
 * What a spec was read from, before it means anything: maps, lists and scalars that know their place ("line 7",
 * "--image"), so that every fault can name it. YAML and JSON files, CVS cluster files and flags all become this.
 *
 * @module
 */
import type * as Yaml from "yaml";

/** A scalar; `source` is how it was written, as YAML would read the mode 0644 as the number 644. */
export interface ScalarNode {
  readonly kind: "scalar";
  readonly place: string;
  readonly value: string | number | boolean | null;
  readonly source: string;
}

/** A list. */
export interface ListNode {
  readonly kind: "list";
  readonly place: string;
  readonly items: readonly SpecNode[];
}

/** A map; `place` of an entry is its key's. */
export interface MapNode {
  readonly kind: "map";
  readonly place: string;
  readonly entries: ReadonlyMap<string, { readonly place: string; readonly node: SpecNode }>;
}

/** See the module's description. */
export type SpecNode = ScalarNode | ListNode | MapNode;

/** Collects what is wrong with a spec; all of it is reported. */
export class Faults {
  readonly texts: string[] = [];

  /** `place` is where, `text` what is and what was wanted. */
  add(place: string, text: string): void {
    const fault = place === "" ? text : `${place}: ${text}`;
    if (!this.texts.includes(fault)) this.texts.push(fault);
  }
}

/** Enough for any spec; aliases that multiply end here. */
const NODES_LIMIT = 100_000;
const DEPTH_LIMIT = 32;

/** Makes a scalar. */
export function scalar(value: string | number | boolean | null, place: string): ScalarNode {
  return { kind: "scalar", place, value, source: String(value) };
}

/** Makes a list of texts. */
export function listOf(texts: readonly string[], place: string): ListNode {
  return { kind: "list", place, items: texts.map((text) => scalar(text, place)) };
}

/** Makes a map; entries without a node are left out. */
export function mapOf(entries: Iterable<readonly [string, SpecNode | undefined]>, place: string): MapNode {
  const found = [...entries].flatMap(([key, node]) =>
    node === undefined ? [] : [[key, { place: node.place, node }] as const]
  );
  return { kind: "map", place, entries: new Map(found) };
}

/** Reads YAML or JSON (which is YAML); undefined when it could not be read, with the faults added. */
export async function parseNodes(text: string, faults: Faults): Promise<SpecNode | undefined> {
  const yaml = await import("yaml");
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false });
  for (const { pos, message } of document.errors) faults.add(lineAt(pos[0]), message);
  if (document.errors.length > 0) return undefined;
  let count = 0;

  function lineAt(offset: number | undefined): string {
    return offset === undefined ? "" : `line ${lines.linePos(offset).line}`;
  }

  function convert(node: unknown, depth: number, fallback: string): SpecNode {
    const place = lineAt((node as Yaml.Node | null)?.range?.[0]) || fallback;
    if (++count > NODES_LIMIT || depth > DEPTH_LIMIT) {
      throw new RangeError(`${place}: it has more than ${NODES_LIMIT} values or ${DEPTH_LIMIT} levels`);
    }
    if (yaml.isAlias(node)) return convert(node.resolve(document), depth + 1, place);
    if (yaml.isSeq(node)) {
      return { kind: "list", place, items: node.items.map((item) => convert(item, depth + 1, place)) };
    }
    if (yaml.isMap(node)) {
      const entries = node.items.map(({ key, value }) => {
        const keyPlace = lineAt((key as Yaml.Node | null)?.range?.[0]) || place;
        if (!yaml.isScalar(key)) faults.add(keyPlace, "a key is no plain text");
        const name = yaml.isScalar(key) ? String(key.value) : "";
        return [name, { place: keyPlace, node: convert(value, depth + 1, keyPlace) }] as const;
      });
      return { kind: "map", place, entries: new Map(entries) };
    }
    if (!yaml.isScalar(node)) return scalar(null, place);
    const { value } = node;
    if (typeof value === "string" || typeof value === "boolean" || value === null) {
      return { ...scalar(value, place), source: node.source ?? String(value) };
    }
    if (typeof value === "number") return { ...scalar(value, place), source: node.source ?? String(value) };
    faults.add(place, "the value is no text, number, boolean or null");
    return scalar(null, place);
  }

  try {
    return convert(document.contents, 0, "line 1");
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    faults.add("", error.message);
    return undefined;
  }
}

/** The known word that `word` is closest to, where it is close enough to be meant. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const lower = word.toLowerCase().replaceAll("-", "_").slice(0, 100);
  const limit = Math.max(2, Math.floor(lower.length / 3));
  const ranked = [...known]
    .map((name) => ({
      name,
      distance: lower.length > 2 && name.startsWith(lower) ? 1 : distance(lower, name),
    }))
    .filter((candidate) => candidate.distance <= limit)
    .sort((a, b) => a.distance - b.distance);
  return ranked[0]?.name;
}

/** Levenshtein. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])));
    }
    row = next;
  }
  return row[b.length]!;
}
