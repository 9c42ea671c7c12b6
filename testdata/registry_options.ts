/**
 * What tests of the registry client share: options with short waits, and a log that can be read.
 *
 * @module
 */
import { Activity } from "../lib/host/activity.ts";
import { type Fields, type Log, LOG_LEVELS } from "../lib/host/log.ts";
import type { RegistryOptions } from "../lib/image/registry.ts";

/** A log that keeps its lines as "level message {fields}". */
export function keepLog(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const line = (level: string) => (message: string, fields?: Fields) => {
    lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
  };
  return { log: Object.fromEntries(LOG_LEVELS.map((level) => [level, line(level)])) as Log, lines };
}

/** Options for a registry on loopback that retry fast; `lines` is the log. */
export function testOptions(
  over: Partial<RegistryOptions> = {},
): RegistryOptions & { lines: string[]; activity: Activity; connections: number } {
  return {
    env: {},
    allowHttp: ["127.0.0.1"],
    retries: 3,
    backoff: { baseMs: 1, capMs: 3_000 },
    stallTimeoutMs: 2_000,
    signal: new AbortController().signal,
    activity: new Activity(),
    connections: 4,
    ...keepLog(),
    ...over,
  };
}
