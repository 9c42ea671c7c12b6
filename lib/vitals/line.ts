/**
 * One line of vitals: a tag to grep for, then logfmt that Loki's `| logfmt` reads. The keys of a sample are those of
 * keys.ts in their order; other kinds bring their own. No line reaches 4096 bytes, so that one write(2) puts it on a
 * pipe whole (PIPE_BUF, pipe(7)).
 *
 * @module
 */
import { formatLogfmt } from "../host/logfmt.ts";
import { AsciiLine } from "./ascii_line.ts";
import { isSampleKey, type Sample, SAMPLE_KEYS } from "./keys.ts";

/** The tag that a line begins with when nobody wants another. */
export const DEFAULT_TAG = "RUNNER_VITALS";

/** No line is longer, its newline included. */
export const LINE_LIMIT_BYTES = 4095;

/** What a line reports. */
export type LineKind = "start" | "sample" | "event" | "gpu" | "end";

/** The moment of a line. */
export interface Moment {
  /** Wall clock, milliseconds since the epoch. */
  readonly wallMs: number;
  /** Monotonic clock, milliseconds since the probe's start. */
  readonly monoMs: number;
}

/** Values by key, in the order of the line; undefined ones are left out. */
export type LineFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** A line as it was read. */
export interface VitalsLine extends Moment {
  readonly tag: string;
  readonly kind: LineKind;
  /** Every other key, also unknown ones, with its value as text, unescaped. */
  readonly fields: ReadonlyMap<string, string>;
}

const TAG_REGEXP = /^[A-Za-z][A-Za-z0-9_.:-]{0,63}$/;
const KINDS: readonly string[] = ["start", "sample", "event", "gpu", "end"] satisfies LineKind[];
/** Longest text of one value in bytes, tried in this order until the line fits. */
const TEXT_LIMITS_BYTES = [1024, 512, 256, 128, 64, 32];
const CUT_MARK = "…";

const PREFIXES = SAMPLE_KEYS.map((key) => ({ key, prefix: ` ${key}=` }));

const encoder = new TextEncoder();
const ascii = new AsciiLine();

/** A tag as a user gave it, or a SyntaxError: it must be one word that cannot be taken for a pair. */
export function parseTag(text: string): string {
  if (TAG_REGEXP.test(text)) return text;
  throw new SyntaxError(
    `expected a letter, then up to 63 letters, digits, "_", ".", ":" or "-", got "${text}"`,
  );
}

/** The line of a sample, ended by a newline. */
export function formatSample(tag: string, moment: Moment, sample: Sample): string {
  // Only numbers and "max": line_test.ts measures the longest possible one.
  ascii.clear();
  ascii.text(`${tag} kind=sample ts=${new Date(moment.wallMs).toISOString()} mono_ms=`);
  ascii.number(Math.round(moment.monoMs));
  for (const { key, prefix } of PREFIXES) {
    const value = sample.get(key);
    if (value === undefined || (value !== "max" && !Number.isFinite(value))) continue;
    ascii.text(prefix);
    if (value === "max") ascii.text(value);
    else ascii.number(value);
  }
  ascii.text("\n");
  return ascii.toString();
}

/**
 * A line of any kind, ended by a newline. Where it would be too long, its longest texts are cut and end in "…";
 * where even that does not help, the last keys give way to `cut=N`, their number.
 */
export function formatLine(tag: string, kind: LineKind, moment: Moment, fields: LineFields): string {
  const start = head(tag, kind, moment);
  const entries = Object.entries(fields);
  let pairs: string[] = [];
  for (const limit of TEXT_LIMITS_BYTES) {
    pairs = entries.map(([key, value]) => pair(key, value, limit));
    const line = `${start}${pairs.join("")}\n`;
    if (byteLength(line) <= LINE_LIMIT_BYTES) return line;
  }
  for (let cut = 1; pairs.pop() !== undefined; cut++) {
    const line = `${start}${pairs.join("")} cut=${cut}\n`;
    if (byteLength(line) <= LINE_LIMIT_BYTES) return line;
  }
  throw new RangeError(`tag of ${tag.length} characters: parseTag() was not asked`);
}

function head(tag: string, kind: LineKind, { wallMs, monoMs }: Moment): string {
  return `${tag} kind=${kind} ts=${new Date(wallMs).toISOString()} mono_ms=${Math.round(monoMs)}`;
}

function pair(key: string, value: LineFields[string], limit: number): string {
  if (value === undefined) return "";
  if (typeof value === "number") return Number.isFinite(value) ? ` ${key}=${formatNumber(value)}` : "";
  if (typeof value === "boolean" || value === "max") return ` ${key}=${value}`;
  return ` ${formatLogfmt({ [key]: cutText(value.toWellFormed(), limit) })}`;
}

function formatNumber(value: number): string {
  ascii.clear();
  ascii.number(value);
  return ascii.toString();
}

/** `text` so far that its escaped form has at most `limit` bytes. */
function cutText(text: string, limit: number): string {
  if (text.length * 6 <= limit) return text; // the longest escape of one code unit is \u001b
  let bytes = 0;
  let kept = "";
  let fits = "";
  for (const char of text) {
    bytes += byteLength(formatLogfmt({ k: `${char} ` })) - 5; // without k=" and "
    if (bytes > limit) return fits + CUT_MARK;
    kept += char;
    if (bytes <= limit - CUT_MARK.length * 3) fits = kept;
  }
  return text;
}

function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** Quoted values have the escapes of a JSON string. */
const PAIR_REGEXP = / ([a-z][a-z0-9_]*)=(?:("(?:[^"\\]|\\.)*")|([^\s"=]*))(?= |$)/y;

/**
 * Reads one line of ours, without its newline; undefined for anything else, also for one that was torn within a
 * pair. A tear between two pairs does not show: who knows that the newline is missing must not trust the last one.
 */
export function parseLine(text: string): VitalsLine | undefined {
  const tagEnd = text.indexOf(" kind=");
  if (tagEnd < 1 || !TAG_REGEXP.test(text.slice(0, tagEnd))) return undefined;
  const fields = new Map<string, string>();
  if (readPairs(text, tagEnd, fields) < text.length) return undefined;
  const kind = fields.get("kind")!;
  const wallMs = Date.parse(fields.get("ts") ?? "");
  const monoMs = Number(fields.get("mono_ms") ?? NaN);
  if (!KINDS.includes(kind) || Number.isNaN(wallMs) || Number.isNaN(monoMs)) return undefined;
  for (const key of ["kind", "ts", "mono_ms"]) fields.delete(key);
  return { tag: text.slice(0, tagEnd), kind: kind as LineKind, wallMs, monoMs, fields };
}

/** As much of a line's front as can be read, when it was torn or mixed with other text. */
export function readableFront(text: string): string {
  const tagEnd = text.indexOf(" kind=");
  return tagEnd < 1 ? "" : text.slice(0, readPairs(text, tagEnd, new Map()));
}

/** Reads pairs from `at` on into `fields`; returns where there are no more. */
function readPairs(text: string, at: number, fields: Map<string, string>): number {
  let end = at;
  while (end < text.length) {
    PAIR_REGEXP.lastIndex = end;
    const match = PAIR_REGEXP.exec(text);
    if (match === null) return end;
    const value = match[2] === undefined ? match[3]! : unquote(match[2]);
    if (value === undefined) return end;
    fields.set(match[1]!, value);
    end = PAIR_REGEXP.lastIndex;
  }
  return end;
}

function unquote(quoted: string): string | undefined {
  try {
    return JSON.parse(quoted);
  } catch {
    return undefined; // an escape that is none of ours: not our line
  }
}

/** The number that `key` has in a line; undefined when it is absent or no number. */
export function numberIn(fields: ReadonlyMap<string, string>, key: string): number | undefined {
  const text = fields.get(key);
  if (text === undefined || text === "") return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** The sample that a line of kind `sample` has; keys that keys.ts does not know are left out. */
export function sampleIn(fields: ReadonlyMap<string, string>): Sample {
  const sample: Sample = new Map();
  for (const [key, text] of fields) {
    if (!isSampleKey(key)) continue;
    const value = text === "max" ? "max" : numberIn(fields, key);
    if (value !== undefined) sample.set(key, value);
  }
  return sample;
}
