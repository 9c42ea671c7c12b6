/**
 * The report for people: one aligned line per check, and below what is not well, what it costs and how to
 * mend it.
 *
 * @module
 */
import { type Report, shown, STATES } from "./check.ts";

/** The report as text, without a newline at its end. */
export function formatReport({ checks }: Report): string {
  const stateWidth = Math.max(...STATES.map((state) => state.length));
  const labels = checks.map(({ name, place }) => place === undefined ? name : `${name} ${shown(place)}`);
  const labelWidth = Math.min(32, Math.max(...labels.map((label) => label.length)));
  const indent = " ".repeat(stateWidth + 2);
  const lines = checks.flatMap(({ state, detail, cost, mend }, index) => [
    `${state.padEnd(stateWidth)}  ${labels[index]!.padEnd(labelWidth)}  ${detail}`,
    ...cost === undefined ? [] : [`${indent}  cost: ${cost}`],
    ...mend === undefined ? [] : [`${indent}  mend: ${mend}`],
  ]);
  const counts = STATES.map((state) => `${checks.filter((check) => check.state === state).length} ${state}`);
  return [...lines, counts.join(", ")].join("\n");
}
