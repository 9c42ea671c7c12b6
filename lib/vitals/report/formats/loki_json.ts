/**
 * Exports of Loki: `logcli --output=jsonl` (an object a line with `line`, `timestamp`, `labels`), and whole documents
 * of any size — the answer of /loki/api/v1/query_range, Grafana's "download logs" — which may be one line of
 * gigabytes. A document is not parsed: a line of ours is a string literal in it, and what is around that tells when
 * and whose.
 *
 * @module
 */
import { epochMs, type Message, subjectOf } from "./message.ts";

/** What begins a stream's labels in an answer of the query API. */
export const STREAM_NEEDLE = '"stream":';

/** An object a line; see {@linkcode Unwrap}. Objects of other log shippers fit too: any text that has the tag. */
export function unwrapJsonLine(line: string, tag: string): Message | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const entry = JSON.parse(line) as Record<string, unknown>;
    const content = typeof entry.line === "string"
      ? entry.line
      : Object.values(entry).find((value) => typeof value === "string" && value.includes(tag));
    if (typeof content !== "string") return undefined;
    return {
      content: content.replace(/\n$/, ""),
      timeMs: timeOf(entry.timestamp ?? entry.time),
      subject: subjectOf(entry.labels ?? entry.fields ?? entry),
    };
  } catch {
    return undefined;
  }
}

function timeOf(value: unknown): number | undefined {
  if (typeof value !== "string") return undefined;
  const ms = epochMs(value) ?? Date.parse(value);
  return Number.isNaN(ms) ? undefined : ms;
}

const LABELS_LIMIT_CHARS = 1 << 14;
const PREVIOUS_REGEXP = /"(\d{16,19})"\s*,\s*$/;

/** Reads messages out of a document as its pieces come by. */
export class LokiDocument {
  #subject: string | undefined;
  #labels: string | undefined;

  /** The message at each tag of a piece; with `only`, of what is at that place. Labels are remembered. */
  messagesIn(piece: string, tag: string, only?: number): Message[] {
    const messages: Message[] = [];
    let labelsFrom = 0;
    for (let at = piece.indexOf(tag, only), next; at !== -1; at = piece.indexOf(tag, next)) {
      if (only === undefined) this.#readLabels(piece.slice(labelsFrom, at));
      else if (at !== only) break;
      labelsFrom = at;
      const [start, end] = [quoteBefore(piece, at), quoteAfter(piece, at)];
      if (end === -1) break;
      next = end; // a tag further on in the same literal is quoted by our line
      const text = start === -1 ? undefined : literalOf(piece.slice(start, end + 1));
      if (text === undefined || piece.slice(start, at).includes(tag)) continue;
      const digits = PREVIOUS_REGEXP.exec(piece.slice(Math.max(0, start - 40), start))?.[1];
      messages.push({
        content: text.replace(/\n$/, ""),
        timeMs: digits === undefined ? undefined : epochMs(digits),
        subject: this.#subject,
      });
    }
    if (only === undefined) this.#readLabels(piece.slice(labelsFrom));
    else if (piece.startsWith(STREAM_NEEDLE, only)) this.#readLabels(piece.slice(only));
    return messages;
  }

  /** Whether labels have begun and not ended: a document for people has each on a line of its own. */
  get wantsMore(): boolean {
    return this.#labels !== undefined;
  }

  #readLabels(piece: string): void {
    const at = piece.lastIndexOf(STREAM_NEEDLE);
    const text = at === -1 ? (this.#labels ?? "") + piece : piece.slice(at + STREAM_NEEDLE.length);
    if (at === -1 && this.#labels === undefined) return;
    const labels = objectIn(text);
    if (labels !== undefined) this.#subject = subjectOf(labels);
    this.#labels = labels === undefined && text.length < LABELS_LIMIT_CHARS ? text : undefined;
  }
}

/** The flat object that a text begins with; labels never nest. */
function objectIn(text: string): unknown {
  const end = text.indexOf("}");
  try {
    return end === -1 ? undefined : JSON.parse(text.slice(0, end + 1));
  } catch {
    return undefined;
  }
}

function literalOf(quoted: string): string | undefined {
  try {
    return JSON.parse(quoted);
  } catch {
    return undefined;
  }
}

function quoteBefore(text: string, at: number): number {
  for (let quote = text.lastIndexOf('"', at); quote !== -1; quote = text.lastIndexOf('"', quote - 1)) {
    if (!isEscaped(text, quote)) return quote;
    if (quote === 0) return -1;
  }
  return -1;
}

function quoteAfter(text: string, at: number): number {
  for (let quote = text.indexOf('"', at); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    if (!isEscaped(text, quote)) return quote;
  }
  return -1;
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text[at - 1 - slashes] === "\\") slashes++;
  return slashes % 2 === 1;
}
