/**
 * The two channels of a command: results on stdout, diagnostics on stderr. Diagnostics are short sentences on a
 * terminal, JSON lines with `--json`, logfmt otherwise.
 *
 * @module
 */
import { Failure, messageOf } from "../lib/failure.ts";
import type { Fields, Log, LogLevel } from "../lib/host/log.ts";
import { LOG_LEVELS } from "../lib/host/log.ts";
import { escapeControls, escapeForTerminal, formatLogfmt } from "../lib/host/logfmt.ts";

/** Writes results and diagnostics of one process. */
export class Output {
  level: LogLevel = "info";
  readonly json: boolean;
  readonly isTerminal = Deno.stderr.isTerminal();
  /** Called around each diagnostic, so that a progress display can step aside. */
  beforeWrite: (() => void) | undefined;

  readonly log: Log = {
    error: (message, fields) => this.#diagnose("error", message, fields),
    warn: (message, fields) => this.#diagnose("warn", message, fields),
    info: (message, fields) => this.#diagnose("info", message, fields),
    debug: (message, fields) => this.#diagnose("debug", message, fields),
  };

  constructor({ json }: { json: boolean }) {
    this.json = json;
  }

  /** Prints the result: `value` as JSON, or `text`, each ended by a newline. */
  result(value: unknown, text: string): void {
    const line = this.json ? JSON.stringify(value) : text;
    this.beforeWrite?.(); // both channels may be the same terminal
    try {
      writeAll(Deno.stdout, line.endsWith("\n") ? line : `${line}\n`);
    } catch (error) {
      throw new Failure("IOERR", `Cannot write the result to stdout: ${messageOf(error)}`, {
        code: "stdout",
        cause: error,
      });
    }
  }

  /** Prints a failure: one line and a hint, or one JSON object. */
  error({ code, message, hint }: Failure): void {
    if (this.json) return this.write(`${JSON.stringify({ error: { code, message, hint } })}\n`);
    // A bug's stack has lines; anything else of more than one has them from a name that somebody chose.
    const shown = escapeForTerminal(message, { isMultiline: code === "bug" });
    this.write(`davit: ${shown}\n${hint === undefined ? "" : `hint: ${escapeForTerminal(hint)}\n`}`);
  }

  /** Writes to stderr. A stderr that is gone has no reader who could be told. */
  write(text: string): void {
    this.beforeWrite?.();
    try {
      writeAll(Deno.stderr, text);
    } catch {
      // The exit status still tells.
    }
  }

  #diagnose(level: LogLevel, message: string, fields: Fields = {}): void {
    if (LOG_LEVELS.indexOf(level) > LOG_LEVELS.indexOf(this.level)) return;
    const ts = new Date().toISOString();
    if (this.json) return this.write(`${JSON.stringify({ ts, level, msg: message, ...fields })}\n`);
    if (!this.isTerminal) return this.write(`${formatLogfmt({ ts, level, msg: message, ...fields })}\n`);
    const details = formatLogfmt(fields);
    this.write(
      `davit: ${level === "info" ? "" : `${level}: `}${escapeControls(message)}${
        details && ` (${details})`
      }\n`,
    );
  }
}

/** A blocked pipe makes write(2) short when a signal arrives (measured): go on with the rest. */
function writeAll(writer: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let bytes = new TextEncoder().encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(writer.writeSync(bytes));
}
