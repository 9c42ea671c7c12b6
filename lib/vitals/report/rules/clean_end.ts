/**
 * The job ended well: whatever else is in the log did not end it.
 *
 * @module
 */
import { evidence } from "../evidence.ts";
import type { Facts } from "../facts.ts";
import type { Finding } from "../types.ts";

/** An exit status of 0, and an end line, the quiet after the watched process, or a probe that went on. */
export function cleanEnd(facts: Facts): Finding | undefined {
  const { run, exit, isQuiet, wentOn, last } = facts;
  const goodbye = run.end ?? (isQuiet ? run.events.at(-1) : wentOn ? last : undefined);
  if (goodbye === undefined || exit !== 0) return undefined;
  return {
    class: "clean_end",
    confidence: "high",
    summary: wentOn
      ? "The job exited with 0, and the probe went on"
      : "The probe said goodbye and the job exited with 0",
    evidence: [evidence(goodbye)],
    check: [],
  };
}
