/**
 * Reads what a probe printed, for tests.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type LineKind, parseLine, type VitalsLine } from "../lib/vitals/line.ts";

/** Every line of `text` that is one of ours; other programs' lines are left out, a damaged one of ours is a fault. */
export function linesOf(text: string, tag = "RUNNER_VITALS"): VitalsLine[] {
  return text.split("\n").filter((line) => line.includes(tag)).map((line) => {
    const parsed = parseLine(line.trimEnd());
    assert.ok(parsed, `not a whole line: ${line}`);
    return parsed;
  });
}

/** The lines of one kind; for events, of one name. Old kernel records are left out. */
export function pick(lines: readonly VitalsLine[], kind: LineKind, event?: string): VitalsLine[] {
  return lines.filter((line) =>
    line.kind === kind && (event === undefined || line.fields.get("event") === event) &&
    line.fields.get("old") !== "true"
  );
}

/** A field of a line that must be there. */
export function field(line: VitalsLine | undefined, key: string): string {
  const value = line?.fields.get(key);
  assert.ok(value !== undefined, `no ${key} in ${line?.kind}`);
  return value;
}

/** A pattern for `waitFor` that matches when `count` samples are out. */
export function samples(count: number): RegExp {
  return new RegExp(`(?:kind=sample [^]*?\\n[^]*?){${count}}`);
}
