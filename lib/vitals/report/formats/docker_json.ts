/**
 * The json-file driver of Docker: one object a line with `log`, `stream` and `time`. A line longer than 16 KiB comes
 * in parts; only the last part's `log` ends in a newline. Docker documentation, "JSON File logging driver".
 *
 * @module
 */
import type { Message } from "./message.ts";

/** See {@linkcode Unwrap}. */
export function unwrapDockerJson(line: string): Message | undefined {
  if (!line.startsWith("{")) return undefined;
  let entry: unknown;
  try {
    entry = JSON.parse(line);
  } catch {
    return undefined; // not JSON, or torn: whoever reads the bare line sees what is left of it
  }
  const { log, stream, time } = entry as Record<string, unknown>;
  if (typeof log !== "string") return undefined;
  return {
    content: log.replace(/\n$/, ""),
    timeMs: typeof time === "string" ? Date.parse(time) : undefined,
    isPartial: !log.endsWith("\n"),
    stream: typeof stream === "string" ? stream : "stdout",
  };
}
