/**
 * Runs a program in a container with its streams apart, byte for byte, and ends it there, too, when it takes too long
 * or nobody waits for it any more.
 *
 * @module
 */
import { Failure, messageOf } from "../../failure.ts";
import type { CallContext } from "../../host/fan_out/rpc.ts";
import type { Log } from "../../host/log.ts";
import { endOf } from "../../host/process.ts";
import type { ExecEnd } from "../host_methods.ts";
import { type Cli, killNow } from "./cli.ts";
import { passEnvironment } from "./environment.ts";
import { ExecOutput } from "./exec_output.ts";
import { inspectContainer } from "./inspect.ts";
import { InsideProcesses } from "./inside.ts";
import { MARK } from "./marked_processes.ts";
import { openPty, type Pty } from "./pty.ts";

/** What is to run. */
export interface ExecRequest {
  readonly id: string;
  readonly name: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workdir?: string | undefined;
  readonly user?: string | undefined;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly timeoutMs?: number | undefined;
  readonly graceMs: number;
}

/** How long a client may take to end after all that it waits for has. */
const CLIENT_MS = 5_000;
const SIGNAL_REGEXP = /^SIG[A-Z0-9]+$/;
const TIMER_LIMIT_MS = 2 ** 31 - 1;

/** Runs it to its end. Aborting the context ends it inside and rejects with the reason. */
export async function execIn(
  cli: Cli,
  request: ExecRequest,
  context: Pick<CallContext, "signal" | "send" | "input" | "messages">,
  log: Log,
): Promise<ExecEnd> {
  const { id, tty, stdin, graceMs, timeoutMs } = request;
  const { signal } = context;
  signal.throwIfAborted();
  await cli.settle(signal);
  const mark = crypto.randomUUID();
  await using passed = await passEnvironment(request.env, { isSudo: cli.isSudo });
  using pty = tty ? await openPty() : undefined;
  pty?.resize(80, 24);
  const streams = pty === undefined
    ? {
      stdin: stdin ? "piped" as const : "null" as const,
      stdout: "piped" as const,
      stderr: "piped" as const,
    }
    : ptyStreams(pty);
  const child = cli.spawn(execWords(request, mark, passed.flags), { ...streams, env: passed.env });
  pty?.closeSlave();
  const processes = new InsideProcesses(cli, { id, mark, log });
  let isClientGone = false;
  const ended = endOf(child).finally(() => isClientGone = true);
  const output = new ExecOutput(context, request.argv[0]!);
  const outputs = pty === undefined
    ? [output.pump(1, child.stdout), output.pump(2, child.stderr)]
    : [output.pump(1, pty.read())];
  for (const pumped of outputs) pumped.catch(() => {}); // awaited below, unless something else failed first
  if (pty !== undefined) feed(context.input, (bytes) => pty.write(bytes));
  else if (stdin) feedStream(context.input, child.stdin);
  follow(context.messages, { pty, processes, child, log });

  const stop = Promise.withResolvers<"timeout" | "abort">();
  const timer = timeoutMs === undefined
    ? undefined
    : setTimeout(() => stop.resolve("timeout"), Math.min(timeoutMs, TIMER_LIMIT_MS));
  const onAbort = () => stop.resolve("abort");
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    const first = await Promise.race([ended.then(() => "ended" as const), stop.promise]);
    if (first !== "ended") {
      await processes.end(graceMs, () => isClientGone, () => killNow(child));
      await settled(ended, child);
    }
    const { code } = await ended;
    if (first === "ended") await Promise.all(outputs);
    else await orLater(Promise.all(outputs), CLIENT_MS); // a caller that takes nothing gets no more
    if (first === "abort") signal.throwIfAborted();
    const end = await output.finish(code);
    if (end.isCallFailed) await explain(cli, request, end.stderr);
    return { code: end.code, signal: null, timedOut: first === "timeout" };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

function execWords(request: ExecRequest, mark: string, envFlags: readonly string[]): string[] {
  const { id, argv, workdir, user, tty, stdin } = request;
  return [
    "exec",
    ...stdin || tty ? ["--interactive"] : [],
    ...tty ? ["--tty"] : [],
    // In argv: in the CLI's own environment it would make a marked process of the CLI.
    `--env=${MARK}=${mark}`,
    ...envFlags,
    ...workdir === undefined ? [] : [`--workdir=${workdir}`],
    ...user === undefined ? [] : [`--user=${user}`],
    id,
    ...argv,
  ];
}

/** A number is a descriptor: Deno takes it, its types do not say so. */
function ptyStreams({ slave }: Pty): Pick<Deno.CommandOptions, "stdin" | "stdout" | "stderr"> {
  const descriptor = slave as unknown as "inherit";
  return { stdin: descriptor, stdout: descriptor, stderr: descriptor };
}

/** A CLI that stays although all it waits for has ended is ended by force. */
async function settled(ended: Promise<unknown>, child: Deno.ChildProcess): Promise<void> {
  const timer = setTimeout(() => killNow(child), CLIENT_MS);
  await ended.finally(() => clearTimeout(timer));
}

async function orLater(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Input goes on until its end or the program's; the latter is no error, its status tells. */
function feedStream(input: AsyncIterable<Uint8Array>, stream: WritableStream<Uint8Array<ArrayBuffer>>): void {
  const writer = stream.getWriter();
  writer.closed.catch(() => {});
  feed(input, (bytes) => writer.write(bytes as Uint8Array<ArrayBuffer>), () => writer.close());
}

function feed(
  input: AsyncIterable<Uint8Array>,
  write: (bytes: Uint8Array) => Promise<void>,
  close: () => Promise<void> = () => Promise.resolve(),
): void {
  (async () => {
    for await (const bytes of input) await write(bytes);
    await close();
  })().catch(() => {}); // the reader is gone, or the caller
}

function follow(
  messages: AsyncIterable<unknown>,
  { pty, processes, child, log }: {
    pty: Pty | undefined;
    processes: InsideProcesses;
    child: Deno.ChildProcess;
    log: Log;
  },
): void {
  (async () => {
    for await (const message of messages) {
      const { signal, columns, rows } = message as { signal?: unknown; columns?: unknown; rows?: unknown };
      try {
        if (typeof signal === "string" && SIGNAL_REGEXP.test(signal)) {
          await processes.signal(signal as Deno.Signal, "leader");
        }
        if (pty !== undefined && isSize(columns) && isSize(rows)) {
          pty.resize(columns, rows);
          child.kill("SIGWINCH"); // the CLI is not in the foreground of this terminal: the kernel does not tell it
        }
      } catch (error) {
        log.debug("cannot pass a message on to the program", { reason: messageOf(error) });
      }
    }
  })().catch((error) => log.debug("the program's messages ended", { reason: messageOf(error) }));
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value < 65_536;
}

/** Throws what kept the program from being started at all, where the runtime still says so. */
async function explain(cli: Cli, { id, name }: ExecRequest, stderr: string): Promise<void> {
  const fault = cli.faultOf({ code: 1, stderr });
  if (fault !== undefined) throw cli.fault(fault, stderr);
  const found = await inspectContainer(cli, id, AbortSignal.timeout(60_000));
  if (found?.status === "running") return; // then those were the program's own words
  throw new Failure(
    "UNAVAILABLE",
    `Cannot run a program in container "${name}": it ${found === null ? "is gone" : `is ${found.status}`}`,
    {
      code: found === null ? "no_such_container" : "not_running",
      hint: "`davit container up` starts it",
    },
  );
}
