/**
 * The probe's own diagnostics as lines on stderr. A stalled reader there must stop nothing, so they do not go
 * through the log of other commands, which writes and waits; they look like it.
 *
 * @module
 */
import type { Fields, LogLevel } from "../host/log.ts";
import { LOG_LEVELS } from "../host/log.ts";
import { formatLogfmt } from "../host/logfmt.ts";

/** How much is said, and in which form. */
export interface LogStyle {
  readonly level: LogLevel;
  /** An object a line instead of logfmt. */
  readonly isJson: boolean;
}

/** A line with its newline; undefined for what is not to be said. */
export function formatLogLine(
  { level: upTo, isJson }: LogStyle,
  level: LogLevel,
  msg: string,
  fields: Fields = {},
): string | undefined {
  if (LOG_LEVELS.indexOf(level) > LOG_LEVELS.indexOf(upTo)) return undefined;
  const line = { ts: new Date().toISOString(), level, msg, ...fields };
  return `${isJson ? JSON.stringify(line) : formatLogfmt(line)}\n`;
}
