/**
 * Starts a hook server that goes on alone: in a session of its own, without a terminal, with nothing of its starter's
 * streams. The token goes through a pipe: a command line is everybody's to read.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { endOf } from "../host/process.ts";
import { selfStart } from "../host/self.ts";

/** What the server is started with. */
export interface DetachOptions {
  /** Arguments of `davit`; they must say that the token comes on descriptor 0. */
  readonly args: readonly string[];
  readonly token: string;
  /** Takes what the server says on stderr until it listens. */
  readonly onStderr: (bytes: Uint8Array) => void;
  readonly timeoutMs?: number;
}

/** How it began: the line with its address, or how it ended. */
export type Detached = { readonly line: string } | { readonly code: number };

const TIMEOUT_MS = 60_000;
const LINE_FEED = 10;

/** Resolves when the server listens, or has ended. Throws a Failure when it does neither in time. */
export async function startDetached(
  { args, token, onStderr, timeoutMs = TIMEOUT_MS }: DetachOptions,
): Promise<Detached> {
  const { argv: [program, ...before], env } = selfStart();
  const child = new Deno.Command(program, {
    args: [...before, ...args],
    env: { ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(`${token}\n`)).catch(() => {}); // it has ended: its status tells
  await writer.close().catch(() => {});
  const relayed = relay(child.stderr, onStderr);
  const ended = endOf(child);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), timeoutMs));
  const line = await Promise.race([firstLine(child.stdout), late]);
  clearTimeout(timer);
  if (line === "late") {
    child.kill("SIGKILL");
    throw new Failure(
      "UNAVAILABLE",
      `Cannot start the server: it does not listen after ${timeoutMs / 1000} s`,
      {
        code: "not_listening",
      },
    );
  }
  if (line !== undefined) return { line };
  const { code } = await ended;
  await relayed;
  return { code: code === 0 ? 70 : code };
}

/** The first line without its end; undefined when the stream ends before. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of stream) {
    text += decoder.decode(piece, { stream: true });
    if (piece.includes(LINE_FEED)) return text.slice(0, text.indexOf("\n"));
  }
  return undefined;
}

async function relay(
  stream: ReadableStream<Uint8Array>,
  onBytes: (bytes: Uint8Array) => void,
): Promise<void> {
  for await (const piece of stream) onBytes(piece);
}
