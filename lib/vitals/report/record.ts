/**
 * One line of a log as the report keeps it: its text, its place in time, and its fields when somebody asks. A log of
 * gigabytes has millions of lines of which some thousands are kept, so only the head is read at first.
 *
 * @module
 */
import { type LineKind, numberIn, parseLine, readableFront } from "../line.ts";
import { parseTuistLine } from "./tuist_line.ts";

/** Who wrote a line: davit, or tuist's shell probe. */
export type Dialect = "davit" | "tuist";

/** What a kept line says; all that is not in `text` is derived from it. */
export class LogRecord {
  readonly kind: LineKind;
  readonly tsMs: number;
  /** On the probe's monotonic clock; undefined for tuist's lines. */
  readonly monoMs: number | undefined;
  readonly dialect: Dialect;
  /** The line from its tag (tuist: its timestamp) on, as it was found. */
  readonly text: string;
  readonly #parse: () => ReadonlyMap<string, string>;
  #fields: ReadonlyMap<string, string> | undefined;

  constructor(
    { kind, tsMs, monoMs, dialect, text, parse }: {
      kind: LineKind;
      tsMs: number;
      monoMs?: number | undefined;
      dialect: Dialect;
      text: string;
      parse: () => ReadonlyMap<string, string>;
    },
  ) {
    this.kind = kind;
    this.tsMs = tsMs;
    this.monoMs = monoMs;
    this.dialect = dialect;
    this.text = text;
    this.#parse = parse;
  }

  get fields(): ReadonlyMap<string, string> {
    return this.#fields ??= this.#parse();
  }

  /** Text of a field. */
  get(key: string): string | undefined {
    return this.fields.get(key);
  }

  /** A field as a number; undefined when absent, `max` or no number. */
  number(key: string): number | undefined {
    return numberIn(this.fields, key);
  }

  get seq(): number | undefined {
    return this.number("seq");
  }
}

/** What was found at a tag. */
export type Found = { readonly record: LogRecord } | { readonly fault: "torn" | "foreign" };

const OURS_REGEXP =
  /^\S+ kind=(start|sample|event|gpu|end) ts=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) mono_ms=(\d+)(?= |$)/;
const STAMP_REGEXP = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z $/;

/**
 * Every vitals line in `content`, which is one log message without its transport's prefix. A job may have written
 * half a line of its own before ours, and a torn line of ours may have another one glued to its end.
 */
export function recordsIn(content: string, tag: string, isWhole: boolean): Found[] {
  const found: Found[] = [];
  for (let at = content.indexOf(tag); at !== -1;) {
    const next = nextStart(content, tag, at + tag.length);
    found.push(recordAt(content, at, tag, next, isWhole));
    at = next;
  }
  return found;
}

/** The one at `at`, where a tag is. */
export function recordIn(content: string, tag: string, at: number): Found {
  return recordAt(content, at, tag, nextStart(content, tag, at + tag.length), true);
}

/** The next tag that is not inside of a quoted value: a kernel message may quote one of our lines. */
function nextStart(content: string, tag: string, from: number): number {
  let quotes = 0;
  let counted = from;
  for (let at = content.indexOf(tag, from); at !== -1; at = content.indexOf(tag, at + tag.length)) {
    quotes += content.slice(counted, at).match(/(?<!\\)(?:\\\\)*"/g)?.length ?? 0;
    if (quotes % 2 === 0) return at;
    counted = at;
  }
  return -1;
}

/** `next` is where another line begins, or -1; `isLastWhole` tells of a line with none behind it. */
function recordAt(content: string, at: number, tag: string, next: number, isLastWhole: boolean): Found {
  const end = Math.min(next === -1 ? content.length : next, at + RECORD_LIMIT_CHARS);
  const isWhole = isLastWhole && end === content.length;
  const text = ownCopy(content.slice(at, end).trimEnd(), content);
  if (text.startsWith(`${tag} kind=`)) return ours(text, isWhole);
  const stamp = STAMP_REGEXP.exec(content.slice(Math.max(0, at - 32), at))?.[0];
  if (stamp === undefined) return { fault: "foreign" };
  const head = parseTuistLine(`${stamp}${text}`, tag, isWhole);
  return head === undefined ? { fault: "foreign" } : { record: new LogRecord({ ...head, dialect: "tuist" }) };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const LONG_CHARS = 8_192;
/** No probe writes longer ones; thousands are kept, and somebody may have written megabytes behind a tag. */
const RECORD_LIMIT_CHARS = 8_192;

/** A slice keeps the whole text alive that it is of: what is kept of a giant line gets a text of its own. */
function ownCopy(slice: string, whole: string): string {
  return whole.length < LONG_CHARS ? slice : decoder.decode(encoder.encode(slice));
}

function ours(text: string, isWhole: boolean): Found {
  const head = OURS_REGEXP.exec(text);
  if (head === null) return { fault: "torn" };
  const whole = isWhole ? text : withoutLastPair(text);
  const [, kind, ts, mono] = head;
  const tsMs = Date.parse(ts!);
  if (whole.length < head[0].length || Number.isNaN(tsMs)) return { fault: "torn" };
  return {
    record: new LogRecord({
      kind: kind as LineKind,
      tsMs,
      monoMs: Number(mono),
      dialect: "davit",
      text: whole,
      parse: () => fieldsOf(whole),
    }),
  };
}

/** The fields of a line, or of as much of its front as can be read when it was torn or mixed with other text. */
function fieldsOf(text: string): ReadonlyMap<string, string> {
  return (parseLine(text) ?? parseLine(readableFront(text)))?.fields ?? new Map();
}

function withoutLastPair(text: string): string {
  return text.slice(0, Math.max(0, text.lastIndexOf(" ")));
}
