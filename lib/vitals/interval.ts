/**
 * Reads the sampling interval, which nobody may be able to get wrong: whatever the text, there is an interval that
 * neither spins nor stops. A text that makes no sense gives the default, a value out of range the nearest bound,
 * and each change of what was asked is said in one `event=config` line.
 *
 * Never hand the text on to something that sleeps: `sleep` of coreutils takes "inf" and "nan" for durations.
 *
 * @module
 */

/** Holds when nothing usable is asked for. */
export const DEFAULT_INTERVAL_MS = 3_000;
/** Shorter intervals become this. */
export const MIN_INTERVAL_MS = 200;
/** Longer intervals become this. */
export const MAX_INTERVAL_MS = 60_000;

const WHITESPACE_REGEXP = /^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g;
/** ASCII only, decimal only; more than 15 digits would not be exact in a double. */
const INTERVAL_REGEXP = /^([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s)?$/;
const RAW_LIMIT_CHARS = 64;

/** The interval to use; `change` is there when it is not what was asked for. */
export interface Interval {
  readonly effectiveMs: number;
  readonly change?: { readonly raw: string; readonly reason: string };
}

/** The interval that `text` asks for: seconds, or with the suffix `ms` milliseconds. Never throws. */
export function readInterval(text: string | undefined): Interval {
  const asked = (text ?? "").replace(WHITESPACE_REGEXP, "");
  if (asked === "") return { effectiveMs: DEFAULT_INTERVAL_MS };
  const changed = (effectiveMs: number, reason: string): Interval => ({
    effectiveMs,
    change: { raw: [...text!].slice(0, RAW_LIMIT_CHARS).join(""), reason },
  });
  const [, number, unit] = INTERVAL_REGEXP.exec(asked) ?? [];
  if (number === undefined) return changed(DEFAULT_INTERVAL_MS, "not a number of seconds");
  const ms = Number(number) * (unit === "ms" ? 1 : 1_000);
  if (ms <= 0) return changed(DEFAULT_INTERVAL_MS, "not positive");
  if (ms < MIN_INTERVAL_MS) return changed(MIN_INTERVAL_MS, "below the minimum");
  if (ms > MAX_INTERVAL_MS) return changed(MAX_INTERVAL_MS, "above the maximum");
  return { effectiveMs: Math.round(ms) };
}
