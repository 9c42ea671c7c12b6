/**
 * The last words for Kubernetes: at most 4096 bytes of a container's termination message file reach the status of
 * its pod, where they outlive the container and its logs. The file is mounted from the host, so that it cannot be
 * replaced by a rename; it is written in place, in one write, again and again, because a SIGKILL gives no warning.
 *
 * @module
 */
import { LineQueue, type QueueOptions } from "./line_queue.ts";

/** What the kubelet takes (MaxContainerTerminationMessageLength). */
export const TERMINATION_LOG_BYTES = 4096;
const MAX_EVENTS = 16;
/** Samples alone are not written more often: an event or the end is. */
const SAMPLE_EVERY_MS = 10_000;

const encoder = new TextEncoder();

/** What a line is to the log. */
export type TerminationLineKind = "start" | "sample" | "event" | "end";

/** Keeps the lines that matter most in the file at `path`. */
export class TerminationLog {
  readonly #queue: LineQueue;
  readonly #nowMs: () => number;
  readonly #kept: { start?: string; sample?: string; end?: string } = {};
  readonly #events: string[] = [];
  #writtenMs = -Infinity;

  constructor(path: string, { nowMs = () => performance.now(), ...options }: TerminationLogOptions = {}) {
    this.#nowMs = nowMs;
    // Two: the text that is being written, and the newest.
    this.#queue = new LineQueue((text) => writeInPlace(path, text), { ...options, capacity: 2 });
  }

  /** Takes note of `line`, and writes the file when that is due. */
  note(kind: TerminationLineKind, line: string): void {
    if (kind === "event") {
      this.#events.push(line);
      if (this.#events.length > MAX_EVENTS) this.#events.shift();
    } else this.#kept[kind] = line;
    if (kind === "sample" && this.#nowMs() - this.#writtenMs < SAMPLE_EVERY_MS) return;
    this.#writtenMs = this.#nowMs();
    this.#queue.push(lastWords([this.#kept.start, ...this.#events, this.#kept.sample, this.#kept.end]));
  }

  /** Waits until the newest text is in the file, up to `deadlineMs`; tells whether it is. */
  async drain(deadlineMs: number): Promise<boolean> {
    return await this.#queue.drain(deadlineMs);
  }
}

/** What varies in tests, and who is told of trouble. */
export interface TerminationLogOptions extends Pick<QueueOptions, "onState" | "slowRetryMs"> {
  readonly nowMs?: () => number;
}

/** Whole lines of at most 4096 bytes: the end first, then the last sample, the newest events, the start. */
export function lastWords(lines: readonly (string | undefined)[]): string {
  const [start, ...rest] = lines;
  const byWorth = [...rest.reverse(), start];
  const chosen = new Set<string>();
  let bytes = 0;
  for (const line of byWorth) {
    if (line === undefined) continue;
    bytes += encoder.encode(line).length;
    if (bytes > TERMINATION_LOG_BYTES) break;
    chosen.add(line);
  }
  return lines.filter((line) => line !== undefined && chosen.has(line)).join("");
}

async function writeInPlace(path: string, text: string): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true, mode: 0o644 });
  const bytes = encoder.encode(text);
  const count = await file.write(bytes);
  if (count < bytes.length) throw new Error("No space left on device (os error 28)");
  await file.truncate(count);
}
