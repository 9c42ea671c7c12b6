/**
 * One logfmt line from a record, in the form that Loki's `| logfmt` and Go's kr/logfmt read: `key=value`, values
 * with spaces, quotes, equals signs or control characters quoted and escaped as in Go, absent values left out.
 *
 * @module
 */
import type { Fields } from "./log.ts";

// deno-lint-ignore no-control-regex -- control characters are exactly what must not reach a terminal or a log
const NEEDS_QUOTES_REGEXP = /[\s="\\\u0000-\u001f\u007f-\u009f\u2028\u2029]|^$/;
// deno-lint-ignore no-control-regex -- as above
const ESCAPED_REGEXP = /["\\\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;
const SHORT: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\" };

/** `fields` in their own order, without a newline at the end. */
export function formatLogfmt(fields: Fields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${quoted(String(value))}`)
    .join(" ");
}

function quoted(text: string): string {
  return NEEDS_QUOTES_REGEXP.test(text) ? `"${escapeControls(text)}"` : text;
}

/** `text` with control characters, quotes and backslashes escaped, safe to show on a terminal. */
export function escapeControls(text: string): string {
  return text.replace(
    ESCAPED_REGEXP,
    (char) => SHORT[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
