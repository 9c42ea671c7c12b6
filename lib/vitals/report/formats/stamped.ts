/**
 * Bare lines, and lines with a timestamp before them: GitHub's job logs (`2026-11-21T09:00:00.1234567Z CONTENT`, a
 * byte order mark at the start of the file), what `gh run view --log` makes of them (`JOB\tSTEP\tTIME CONTENT`),
 * `kubectl logs --timestamps`, `docker logs -t`.
 *
 * @module
 */
import type { Message } from "./message.ts";

const STAMP_REGEXP =
  /^\ufeff?(?:[^\t]{0,300}\t[^\t]{0,300}\t\ufeff?)?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) /;

/** Never undefined: a line without any prefix is a message too. */
export function unwrapStamped(line: string): Message {
  const match = STAMP_REGEXP.exec(line);
  // The stamp stays: tuist's own lines begin with one.
  return { content: line, timeMs: match === null ? undefined : Date.parse(match[1]!) };
}
