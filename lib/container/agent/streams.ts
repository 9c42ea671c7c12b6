/**
 * Calls of a CLI whose output is for the caller as it comes: files out of and into a container, and its log.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";
import type { CallContext } from "../../host/fan_out/rpc.ts";
import { endOf } from "../../host/process.ts";
import { callFailed, type Cli, killNow } from "./cli.ts";

type Streams = Pick<CallContext, "signal" | "send" | "input">;

const KEPT_CHARS = 65_536;

/** A tar of `path` on channel 1. */
export async function copyOut(
  cli: Cli,
  { id, name, path }: { id: string; name: string; path: string },
  context: Streams,
): Promise<void> {
  const { code, stderr } = await stream(cli, ["cp", `${id}:${path}`, "-"], context, { stderr: "kept" });
  if (code !== 0) throw cannotCopy(cli, `copy "${path}" out of container "${name}"`, { code, stderr });
}

/** Unpacks the tar of the input in `directory`, which must be there. */
export async function copyIn(
  cli: Cli,
  { id, name, directory }: { id: string; name: string; directory: string },
  context: Streams,
): Promise<void> {
  const words = ["cp", "-", `${id}:${directory}`];
  const { code, stderr } = await stream(cli, words, context, { stderr: "kept", hasInput: true });
  if (code !== 0) throw cannotCopy(cli, `copy into "${directory}" of container "${name}"`, { code, stderr });
}

/** The log of its first process, both streams apart. */
export async function readLogs(
  cli: Cli,
  { id, name, tail, follow }: { id: string; name: string; tail?: number | undefined; follow: boolean },
  context: Streams,
): Promise<void> {
  const words = ["logs", ...tail === undefined ? [] : [`--tail=${tail}`], ...follow ? ["--follow"] : [], id];
  const { code, stderr } = await stream(cli, words, context, { stderr: "sent" });
  if (code !== 0) throw callFailed(`read the log of container "${name}"`, { code, stderr });
}

function cannotCopy(cli: Cli, what: string, end: { code: number; stderr: string }): Failure {
  const fault = cli.faultOf(end);
  if (fault !== undefined) return cli.fault(fault, end.stderr);
  const isAbsent = /could not (?:find|be found)|no such (?:file|directory)|not found|must be a directory/i
    .test(end.stderr);
  if (!isAbsent) return callFailed(what, end, "copy_failed");
  return new Failure("NOINPUT", `Cannot ${what}: there is no such path in it`, { code: "not_found" });
}

async function stream(
  cli: Cli,
  words: readonly string[],
  { signal, send, input }: Streams,
  { stderr: stderrMode, hasInput = false }: { stderr: "kept" | "sent"; hasInput?: boolean },
): Promise<{ code: number; stderr: string }> {
  await cli.settle(signal);
  signal.throwIfAborted();
  const child = cli.spawn(words, { stdin: hasInput ? "piped" : "null", stdout: "piped", stderr: "piped" });
  const onAbort = () => killNow(child);
  signal.addEventListener("abort", onAbort);
  let stderr = "";
  const decoder = new TextDecoder();
  const readOut = async () => {
    for await (const chunk of child.stdout) await send(1, chunk);
  };
  const readErr = async () => {
    for await (const chunk of child.stderr) {
      stderr = (stderr + decoder.decode(chunk, { stream: true })).slice(-KEPT_CHARS);
      if (stderrMode === "sent") await send(2, chunk);
    }
  };
  try {
    const fed = hasInput ? feed(input, child) : undefined;
    fed?.catch(() => {}); // awaited below
    const [, , { code }] = await Promise.all([readOut(), readErr(), endOf(child)]);
    signal.throwIfAborted();
    // A CLI that has failed reads no more, and the input may never end: its status is what counts.
    if (code === 0) await fed;
    return { code, stderr };
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

async function feed(input: AsyncIterable<Uint8Array>, child: Deno.ChildProcess): Promise<void> {
  const writer = child.stdin.getWriter();
  writer.closed.catch(() => {});
  try {
    for await (const bytes of input) await writer.write(bytes as Uint8Array<ArrayBuffer>);
    await writer.close();
  } catch (error) {
    // It has read all that it wants: bytes after a tar's end, or it has failed and its status tells.
    if (errnoOf(error) !== "EPIPE") throw error;
  }
}
