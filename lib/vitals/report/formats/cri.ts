/**
 * The files below /var/log/pods, as containerd and CRI-O write them: `TIME STREAM P|F CONTENT`. A line longer than
 * the runtime's buffer (16 KiB in containerd) comes in parts with P, the last with F. Kubernetes, "CRI: Log format".
 *
 * @module
 */
import type { Message } from "./message.ts";

const LINE_REGEXP = /^(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([PF])(?::\S*)? ?/;

/** What P looks like inside of a line, for whoever searches for it. */
export const PARTIAL_NEEDLES = [" stdout P ", " stderr P "] as const;

/** See {@linkcode Unwrap}. */
export function unwrapCri(line: string): Message | undefined {
  const match = LINE_REGEXP.exec(line);
  if (match === null) return undefined;
  const [prefix, time, stream, mark] = match;
  return {
    content: line.slice(prefix.length),
    timeMs: Date.parse(time!),
    isPartial: mark === "P",
    stream: stream!,
  };
}
