/**
 * What a log transport wraps around a line.
 *
 * @module
 */

/** One message of a log, its wrapping taken off. */
export interface Message {
  readonly content: string;
  /** When the transport took the line; milliseconds since the epoch. */
  readonly timeMs?: number | undefined;
  /** Whose line it is where one file has several writers: a pod's name. */
  readonly subject?: string | undefined;
  /** The line goes on in the next message of the same `stream`. */
  readonly isPartial?: boolean;
  readonly stream?: string;
  /** False when the end of the line may be missing. */
  readonly isWhole?: boolean;
}

/** Takes a wrapping off; undefined when the line does not have it. */
export type Unwrap = (line: string) => Message | undefined;

/** Milliseconds of a count of nanoseconds, microseconds, milliseconds or seconds since the epoch, by its length. */
export function epochMs(digits: string): number | undefined {
  if (!/^\d{10,19}$/.test(digits)) return undefined;
  const value = Number(digits);
  if (digits.length >= 18) return value / 1e6;
  if (digits.length >= 15) return value / 1e3;
  if (digits.length >= 12) return value;
  return digits.length === 10 ? value * 1e3 : undefined;
}

/** The pod that a set of labels names. */
export function subjectOf(labels: unknown): string | undefined {
  if (typeof labels !== "object" || labels === null) return undefined;
  const { pod, k8s_pod_name: podName, filename, node, host } = labels as Record<string, unknown>;
  const name = [pod, podName, filename, node, host].find((value) => typeof value === "string");
  return name as string | undefined;
}
