/**
 * Lines to a standard stream of this process that others may share: its reader may stall, go away or be a full
 * disk, and none of that may stop the caller or change the stream for the others.
 *
 * A pipe or a terminal is opened anew through /proc/self/fd with O_NONBLOCK: O_NONBLOCK on the inherited
 * descriptor would hit everybody who shares it. What cannot be opened anew (a socket gives ENXIO, another user's
 * pipe EACCES) or has an offset to share (a file) is written through the descriptor itself by Deno's thread pool,
 * where a stall holds one thread of 32 and not the loop.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import { LINE_LIMIT_BYTES } from "./line.ts";
import { LineQueue, type LineWriter, type QueueOptions } from "./line_queue.ts";

/** The streams that can be written to. */
export type StandardStream = "stdout" | "stderr";

/** What varies in tests. */
export interface StreamOptions extends QueueOptions {
  readonly proc?: string;
  /** Whether `lost=N` may be put into lines. */
  readonly marksLost?: boolean;
}

const STREAMS = { stdout: { fd: 1, file: Deno.stdout }, stderr: { fd: 2, file: Deno.stderr } };
const encoder = new TextEncoder();
const NEWLINE = encoder.encode("\n");

/** A queue of lines in front of a standard stream. */
export async function openStream(stream: StandardStream, options: StreamOptions = {}): Promise<LineQueue> {
  const { proc = "/proc", marksLost = true } = options;
  const write = await nonBlockingWriter(`${proc}/self/fd/${STREAMS[stream].fd}`) ??
    poolWriter(STREAMS[stream].file);
  return new LineQueue(writeLines(write, marksLost), options);
}

/** `line` with `lost=N` as its last pair; as it is where that would make it too long for one write. */
export function markLost(line: string, lost: number): string {
  const marked = `${line.slice(0, -1)} lost=${lost}\n`;
  return encoder.encode(marked).length <= LINE_LIMIT_BYTES ? marked : line;
}

type ByteWriter = (bytes: Uint8Array) => number | Promise<number>;

/** What a short write left is finished before anything else; after an error in the middle a new line begins. */
function writeLines(write: ByteWriter, marksLost: boolean): LineWriter {
  let rest: Uint8Array | undefined;
  let isTorn = false;

  function onCount(count: number): void | Promise<void> {
    rest = rest!.subarray(count);
    if (rest.length > 0) return writeRest();
    rest = undefined;
    isTorn = false;
  }

  function onError(error: unknown, total: number): never {
    // A slow reader gets the rest later. Where the rest is not to be had, the whole line comes again.
    isTorn ||= rest!.length < total;
    if (errnoOf(error) !== "EAGAIN") rest = undefined;
    throw error;
  }

  function writeRest(): void | Promise<void> {
    const total = rest!.length;
    try {
      const count = write(rest!);
      return typeof count === "number"
        ? onCount(count)
        : count.then(onCount, (error) => onError(error, total));
    } catch (error) {
      return onError(error, total);
    }
  }

  return (line, lost) => {
    if (rest === undefined) {
      const bytes = encoder.encode(marksLost && lost > 0 ? markLost(line, lost) : line);
      rest = isTorn ? new Uint8Array([...NEWLINE, ...bytes]) : bytes;
    }
    return writeRest();
  };
}

async function nonBlockingWriter(path: string): Promise<ByteWriter | undefined> {
  try {
    const { isFile, isFifo, isCharDevice } = await Deno.stat(path);
    if (isFile || !(isFifo || isCharDevice)) return undefined;
    const { constants, openSync, writeSync } = await import("node:fs");
    // O_NOCTTY: in a session without a terminal the first one opened would become its controlling terminal.
    const flags = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
    const fd = openSync(path, flags);
    return (bytes) => writeSync(fd, bytes);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined; // the descriptor itself is left
  }
}

function poolWriter(file: typeof Deno.stdout): ByteWriter {
  return (bytes) => file.write(bytes);
}
