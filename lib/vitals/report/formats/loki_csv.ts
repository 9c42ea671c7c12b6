/**
 * Grafana's CSV export of a Loki query: a header with a column for the line, fields in double quotes where needed,
 * quotes doubled. RFC 4180.
 *
 * @module
 */
import { epochMs, type Message, subjectOf } from "./message.ts";

const LINE_COLUMNS = ["line", "message", "body", "content", "log"];

/** Whether the first line of a file is such a header. */
export function isCsvHeader(line: string): boolean {
  const columns = cells(line.replace(/^\ufeff/, "").trimEnd()).map((cell) => cell.toLowerCase());
  return columns.length >= 2 && columns.some((cell) => LINE_COLUMNS.includes(cell));
}

/** The message of one row; undefined when no cell has the tag. */
export function unwrapCsvRow(row: string, tag: string): Message | undefined {
  const all = cells(row.trimEnd());
  const content = all.find((cell) => cell.includes(tag));
  if (content === undefined) return undefined;
  const times = all.filter((cell) => cell !== content).map(timeOf);
  return {
    content: content.trimEnd(),
    timeMs: times.find((time) => time !== undefined),
    subject: all.map(labelsOf).find((subject) => subject !== undefined),
  };
}

function cells(row: string): string[] {
  const found: string[] = [];
  const regexp = /(?:"((?:[^"]|"")*)"|([^,]*))(?:,|$)/y;
  while (regexp.lastIndex < row.length) {
    const match = regexp.exec(row);
    if (match === null) break;
    found.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? "");
  }
  return found;
}

function timeOf(cell: string): number | undefined {
  if (/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d/.test(cell)) {
    const ms = Date.parse(/[Zz]|[+-]\d\d:?\d\d$/.test(cell) ? cell : `${cell.replace(" ", "T")}Z`);
    return Number.isNaN(ms) ? undefined : ms;
  }
  return epochMs(cell);
}

/** Labels come as JSON or as `{pod="x", job="y"}`. */
function labelsOf(cell: string): string | undefined {
  if (!cell.startsWith("{")) return undefined;
  const pairs = cell.matchAll(/"?(\w+)"?\s*[=:]\s*"([^"]*)"/g);
  return subjectOf(Object.fromEntries([...pairs].map(([, key, value]) => [key, value])));
}
