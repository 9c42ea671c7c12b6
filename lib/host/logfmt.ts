/**
 * One logfmt line from a record, in the form that Loki's `| logfmt` and Go's kr/logfmt read: `key=value`, values
 * with spaces, quotes, equals signs or control characters quoted and escaped as in Go, absent values left out.
 *
 * @module
 */
import type { Fields } from "./log.ts";

/** Controls, and what reorders or hides text: soft hyphen, zero-width and bidirectional characters. */
const UNSAFE = String
  .raw`\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff`;
const NEEDS_QUOTES_REGEXP = new RegExp(`[\\s="\\\\${UNSAFE}]|^$`);
const ESCAPED_REGEXP = new RegExp(`["\\\\${UNSAFE}]`, "g");
const UNSAFE_REGEXP = new RegExp(`[${UNSAFE}]`, "g");
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

/** `text` with control characters, quotes and backslashes escaped, fit to stand between quotes. */
export function escapeControls(text: string): string {
  return text.replace(ESCAPED_REGEXP, escaped);
}

/** `text` as a terminal may show it: quotes and backslashes stay, line ends too where `isMultiline`. */
export function escapeForTerminal(text: string, { isMultiline = false } = {}): string {
  return text.replace(UNSAFE_REGEXP, (char) => isMultiline && char === "\n" ? char : escaped(char));
}

function escaped(char: string): string {
  return SHORT[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
