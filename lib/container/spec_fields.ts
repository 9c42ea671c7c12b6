/**
 * Reads the fields of one map of a spec by their kinds, and notes each key that nobody asked for.
 *
 * @module
 */
import { escapeForTerminal } from "../host/logfmt.ts";
import { formatDuration, parseDuration } from "../units.ts";
import type { Check } from "./spec_checks.ts";
import { type Faults, type MapNode, nearest, type ScalarNode, type SpecNode } from "./spec_node.ts";

/** What a removed key of CVS is answered with, wherever it stands and whatever its value. */
export const REMOVED: Readonly<Record<string, string>> = {
  enabled: "is removed: delete it and set lifetime to no_launch, per_run or persistent",
  launch: "is removed: delete it and set lifetime (launch: true is per_run, launch: false is no_launch)",
};

const SHOWN_CHARS = 80;

/** A text from a spec, short and harmless enough for a message. */
export function shown(text: string): string {
  return JSON.stringify(
    escapeForTerminal(text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text),
  );
}

/** Reads one map; `prefix` stands before the keys in messages, such as "registry.". */
export class FieldReader {
  readonly #asked = new Set<string>();

  constructor(readonly map: MapNode, readonly faults: Faults, readonly prefix = "") {}

  /** The node of `key` and its place, or undefined where it is absent. */
  node(key: string): { readonly place: string; readonly node: SpecNode } | undefined {
    this.#asked.add(key);
    return this.map.entries.get(key);
  }

  /** Adds a fault at `key`. */
  fault(key: string, text: string): undefined {
    this.faults.add(this.map.entries.get(key)?.place ?? this.map.place, `${this.prefix}${key} ${text}`);
  }

  /** The text of a scalar as it was written, or a fault. */
  text(key: string, check: Check): string | undefined {
    const node = this.node(key)?.node;
    if (node === undefined) return undefined;
    const text = textOf(node);
    if (text === undefined) return this.fault(key, "wants one text");
    return this.#checked(key, text, check);
  }

  /** One of `words`; null is none of them. */
  choice<T extends string>(key: string, words: readonly T[]): T | undefined {
    const node = this.node(key)?.node;
    if (node === undefined) return undefined;
    const found = words.find((word) => node.kind === "scalar" && node.value === word);
    const got = node.kind === "scalar" ? node.value === null ? "null" : shown(node.source) : `a ${node.kind}`;
    return found ?? this.fault(key, `must be one of ${words.join(", ")}, got ${got}`);
  }

  /** true or false. */
  boolean(key: string): boolean | undefined {
    const node = this.node(key)?.node;
    if (node === undefined) return undefined;
    if (node.kind === "scalar" && typeof node.value === "boolean") return node.value;
    return this.fault(key, "must be true or false");
  }

  /** A text that `parse` understands; its SyntaxError says what was wanted. */
  parsed<T>(key: string, parse: (text: string) => T): T | undefined {
    const text = this.text(key, () => undefined);
    if (text === undefined) return undefined;
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return this.fault(key, `wants ${error.message.replace(/^expected /, "")}`);
    }
  }

  /** Milliseconds, more than nothing and at most `limitMs`. */
  duration(key: string, limitMs = Infinity): number | undefined {
    return this.parsed(key, (text) => {
      const ms = parseDuration(text);
      if (ms === 0) throw new SyntaxError("more than nothing");
      if (ms > limitMs) throw new SyntaxError(`at most ${formatDuration(limitMs)}`);
      return ms;
    });
  }

  /** A list of texts; empty where it is absent. */
  list(key: string, check: Check): string[] {
    const node = this.node(key)?.node;
    if (node === undefined) return [];
    if (node.kind !== "list") {
      this.fault(key, "wants a list of texts");
      return [];
    }
    return node.items.flatMap((item) => {
      const text = textOf(item);
      if (text === undefined) this.faults.add(item.place, `${this.prefix}${key} wants texts`);
      return text === undefined ? [] : [this.#checked(key, text, check, item.place)].filter(isThere);
    });
  }

  /** NAME: VALUE pairs, from a map or a list of NAME=VALUE; a later one replaces an earlier one. */
  pairs(key: string, checkName: Check, checkValue: Check): Record<string, string> {
    const node = this.node(key)?.node;
    const found: (readonly [string, string])[] = [];
    const add = (name: string, value: string | undefined, place: string) => {
      if (value === undefined) {
        return this.faults.add(
          place,
          `${this.prefix}${key} wants a text for ${shown(name)} ("" is the empty one)`,
        );
      }
      const fault = checkName(name) ?? checkValue(value);
      if (fault === undefined) found.push([name, value]);
      else this.faults.add(place, `${this.prefix}${key} has ${shown(name)}, wanted ${fault}`);
    };
    if (node?.kind === "map") {
      for (const [name, { place, node: value }] of node.entries) add(name, textOf(value), place);
    } else if (node?.kind === "list") {
      for (const item of node.items) {
        const text = textOf(item);
        const at = text?.indexOf("=") ?? -1;
        if (text === undefined || at < 0) {
          this.faults.add(item.place, `${this.prefix}${key} wants NAME=VALUE`);
        } else add(text.slice(0, at), text.slice(at + 1), item.place);
      }
    } else if (node !== undefined) this.fault(key, "wants a map of NAME: VALUE or a list of NAME=VALUE");
    return Object.fromEntries(found);
  }

  /** A map of further fields, read by `read`. */
  group<T>(key: string, read: (fields: FieldReader) => T): T | undefined {
    const node = this.node(key)?.node;
    if (node === undefined) return undefined;
    if (node.kind !== "map") return this.fault(key, "wants a map");
    const fields = new FieldReader(node, this.faults, `${this.prefix}${key}.`);
    const value = read(fields);
    fields.done();
    return value;
  }

  /** Reports every key that was not asked for. */
  done(): void {
    for (const [key, { place }] of this.map.entries) {
      if (this.#asked.has(key)) continue;
      const removed = this.prefix === "" && Object.hasOwn(REMOVED, key) ? REMOVED[key] : undefined;
      const meant = nearest(key, this.#asked);
      this.faults.add(
        place,
        removed !== undefined
          ? `${this.prefix}${key} ${removed}`
          : `unknown key ${shown(this.prefix + key)}${
            meant === undefined ? "" : ` (did you mean "${meant}"?)`
          }`,
      );
    }
  }

  #checked(key: string, text: string, check: Check, place?: string): string | undefined {
    const wanted = check(text);
    if (wanted === undefined) return text;
    const where = place ?? this.map.entries.get(key)?.place ?? this.map.place;
    this.faults.add(where, `${this.prefix}${key} is ${shown(text)}, wanted ${wanted}`);
    return undefined;
  }
}

/** The text of a scalar that is not null, as it was written. */
export function textOf(node: SpecNode): string | undefined {
  return node.kind === "scalar" && node.value !== null ? writtenText(node) : undefined;
}

function writtenText({ value, source }: ScalarNode): string {
  return typeof value === "string" ? value : source;
}

function isThere<T>(value: T | undefined): value is T {
  return value !== undefined;
}
