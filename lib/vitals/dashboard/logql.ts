/**
 * LogQL over lines of vitals, ours and tuist's: after `| logfmt` both have the same keys.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import type { SampleKey } from "../keys.ts";

/** Which lines, and how series are told apart. */
export interface QueryOptions {
  /** Matchers of the log stream without braces: `namespace="ci"`. */
  readonly selector: string;
  readonly tag: string;
  /** The label that names a runner. */
  readonly label: string;
}

const LABEL_REGEXP = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const MATCHER = '[a-zA-Z_][a-zA-Z0-9_]*\\s*(?:=~|!~|!=|=)\\s*(?:"(?:[^"\\\\]|\\\\.)*"|`[^`]*`)';
const SELECTOR_REGEXP = new RegExp(`^\\s*${MATCHER}(?:\\s*,\\s*${MATCHER})*\\s*$`);

/** Matchers as a user gave them, with or without braces; a Failure when Loki would refuse them. */
export function parseSelector(text: string): string {
  const inner = text.trim().replace(/^\{(.*)\}$/s, "$1").trim();
  if (SELECTOR_REGEXP.test(inner)) return inner;
  throw new Failure("USAGE", `Cannot use --selector "${text}": expected matchers such as {namespace="ci"}`, {
    code: "usage",
  });
}

/** A label's name as a user gave it. */
export function parseLabel(text: string): string {
  if (LABEL_REGEXP.test(text)) return text;
  throw new Failure("USAGE", `Cannot use --label "${text}": expected the name of a label`, { code: "usage" });
}

/** Lines that have all of some texts in them. */
export function lines({ selector, tag }: QueryOptions, ...texts: string[]): string {
  return [`{${selector}}`, ...[tag, ...texts].map((text) => `|= ${JSON.stringify(text)}`)].join(" ");
}

/** The values of a key over a range; lines without it, and `max`, give none. */
function values(options: QueryOptions, key: SampleKey | GpuKey, range: string, ...texts: string[]): string {
  return `${lines(options, ...texts)} | logfmt | unwrap ${key} | __error__="" [${range}]`;
}

/** A key of a `kind=gpu` line. */
export type GpuKey = "util_pct" | "mem_used_mib" | "temp_c" | "power_w";

/** The last value of a gauge. */
export function gauge(options: QueryOptions, key: SampleKey): string {
  return `max by (${options.label}) (last_over_time(${values(options, key, "1m")}))`;
}

/** The same of GPUs, each a series of its own. */
export function gpuGauge(options: QueryOptions, key: GpuKey): string {
  return `max by (${options.label}, gpu) (last_over_time(${
    values(options, key, "1m", `${options.tag} kind=gpu`)
  }))`;
}

/** Percent of a minute that a `*_usec` delta says: microseconds of it by 600,000. */
export function share(options: QueryOptions, key: SampleKey): string {
  return `sum by (${options.label}) (sum_over_time(${values(options, key, "1m")})) / 600000`;
}

/** Per second, of a `*_bytes` delta. */
export function rate(options: QueryOptions, key: SampleKey): string {
  return `sum by (${options.label}) (sum_over_time(${values(options, key, "1m")})) / 60`;
}

/** The greatest value in a range. */
export function greatest(options: QueryOptions, key: SampleKey, range: string): string {
  return `max by (${options.label}) (max_over_time(${values(options, key, range)}))`;
}

/** How many lines with some texts there were. */
export function count(options: QueryOptions, range: string, ...texts: string[]): string {
  return `sum by (${options.label}) (count_over_time(${lines(options, ...texts)} [${range}]))`;
}
