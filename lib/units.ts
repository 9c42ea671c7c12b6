/**
 * Durations and byte counts as people write them ("10m", "1.5h", "600", "20GiB"), both ways.
 *
 * @module
 */

const DURATION_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DURATION_REGEXP = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/;

/** Milliseconds of "600" (seconds), "500ms", "10m", "1h30m", "2d". Throws SyntaxError on anything else. */
export function parseDuration(text: string): number {
  const parts = text.trim().match(/\d+(?:\.\d+)?[a-z]*/g) ?? [];
  if (parts.length === 0 || parts.join("") !== text.trim()) throw notADuration(text);
  let sum = 0;
  for (const part of parts) {
    const [, number, unit] = DURATION_REGEXP.exec(part) ?? [];
    // A bare number is seconds only when it stands alone: "1h30" could mean either.
    if (number === undefined || (unit === undefined && parts.length > 1)) throw notADuration(text);
    sum += Number(number) * DURATION_MS[unit ?? "s"]!;
  }
  if (!Number.isSafeInteger(Math.round(sum))) throw notADuration(text);
  return Math.round(sum);
}

function notADuration(text: string): SyntaxError {
  return new SyntaxError(`expected a duration such as 600, 500ms, 10m or 1h30m, got "${text}"`);
}

/** "0.4 s", "12 s", "3 m 20 s", "2 h 5 m": at most two units, for people. */
export function formatDuration(ms: number): string {
  const seconds = ms / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return joined(Math.floor(whole / 60), "m", whole % 60, "s");
  const minutes = Math.round(whole / 60);
  if (minutes < 1_440) return joined(Math.floor(minutes / 60), "h", minutes % 60, "m");
  const hours = Math.round(minutes / 60);
  return joined(Math.floor(hours / 24), "d", hours % 24, "h");
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

const BYTES_REGEXP = /^(\d+(?:\.\d+)?)\s*(?:([kmgtp])(i?)b?|b)?$/i;
const POWERS = "kmgtp";

/** Bytes of "4096", "64k" (1000), "64KiB" (1024), "1.5GB". Throws SyntaxError on anything else. */
export function parseBytes(text: string): number {
  const match = BYTES_REGEXP.exec(text.trim());
  if (!match) throw new SyntaxError(`expected a size such as 4096, 500MB or 20GiB, got "${text}"`);
  const power = match[2] ? POWERS.indexOf(match[2].toLowerCase()) + 1 : 0;
  const bytes = Math.round(Number(match[1]) * (match[3] ? 1024 : 1000) ** power);
  if (!Number.isSafeInteger(bytes)) throw new SyntaxError(`size "${text}" is too large`);
  return bytes;
}

/** "512 B", "1.5 kB", "18.2 GB": decimal units, three significant digits. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  let power = 0;
  // 999.5 would print as "1000": carry it into the next unit.
  while (value >= 999.5 && power < POWERS.length) {
    value /= 1000;
    power++;
  }
  return `${value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0)} ${
    ["B", "kB", "MB", "GB", "TB", "PB"][power]
  }`;
}
