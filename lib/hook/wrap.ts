/**
 * Runs a container hook as the runner would: its input, output, signals and exit status pass through, and of what it
 * prints only the guess is replaced whose fault it was.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import { type ChildEnd, endOf } from "../host/process.ts";
import { annotation, type Verdict } from "./fault.ts";
import type { OutputSink, StreamName } from "./sink.ts";
import { WrapFilter } from "./wrap_filter.ts";
import { askServer, placeOf } from "./wrap_server.ts";
import { hookVerdict, type ServerWord } from "./wrap_verdict.ts";

/** What to run, and what it is given. */
export interface WrapOptions {
  readonly argv: readonly [string, ...string[]];
  readonly stdin: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly sink: OutputSink;
  /** Calls back for each signal from now on. */
  readonly listen: (handler: (name: Deno.Signal) => void) => void;
  /** As the runner does: after the hook's end others may hold its output for this long. */
  readonly drainMs?: number;
}

/** How the hook ended; without a verdict it did well. */
export interface WrapEnd extends ChildEnd {
  readonly verdict: Verdict | undefined;
}

const DRAIN_MS = 5_000;
/** Enough for the command and the state, which come first and last in what is one line of JSON. */
const INPUT_LIMIT_CHARS = 4 << 20;

/** Runs it to its end. */
export async function wrapHook(
  { argv, stdin, sink, listen, drainMs = DRAIN_MS }: WrapOptions,
): Promise<WrapEnd> {
  const child = spawn(argv);
  const signals: Deno.Signal[] = [];
  listen((name) => {
    signals.push(name);
    passOn(child, name);
  });
  const input = new InputTap(stdin, child.stdin);
  const [out, err] = [new WrapFilter(), new WrapFilter()];
  const streams = Promise.all([
    passOutput(child.stdout, sink, "stdout", out),
    passOutput(child.stderr, sink, "stderr", err),
  ]);
  const end = await endOf(child);
  const stopped = input.stop();
  if (!await within(drainMs, streams)) {
    await sink.notice(
      "davit: a process that the hook left behind still holds its output; not waiting for it",
    );
  }
  for (const piece of out.finish()) await sink.write("stdout", piece);
  for (const piece of err.finish()) await sink.write("stderr", piece);
  const verdict = end.code === 0 ? undefined : await judge({ end, input, signals, filters: [err, out] });
  // A hook that says that it failed and ends well: its words stand.
  const guesses = [...out.guesses, ...err.guesses];
  for (const line of verdict === undefined ? guesses : [annotation(verdict)]) await sink.notice(line);
  await sink.finish();
  await within(drainMs, stopped);
  return { ...end, verdict };
}

async function judge({ end, input, signals, filters }: {
  end: ChildEnd;
  input: InputTap;
  signals: readonly Deno.Signal[];
  filters: readonly WrapFilter[];
}): Promise<Verdict> {
  const { command, place } = placeOf(input.text);
  const before = input.wordBefore === undefined ? undefined : await input.wordBefore;
  return hookVerdict({
    command,
    code: end.code,
    signals,
    matches: filters.flatMap(({ matches }) => [...matches.values()]),
    idBefore: before?.kind === "status" ? before.id : undefined,
    server: place === undefined ? { kind: "none" } : await askServer(place),
  });
}

function spawn([program, ...args]: readonly [string, ...string[]]): Deno.ChildProcess {
  try {
    // A session of its own: a Ctrl-C reaches it through us, once.
    return new Deno.Command(program, {
      args,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
  } catch (error) {
    const [exit, code, what] = error instanceof Deno.errors.NotFound
      ? [
        127,
        "command_missing",
        "there is no such program, or the interpreter that it names is missing",
      ] as const
      : error instanceof Deno.errors.PermissionDenied
      ? [126, "command_not_executable", "it may not be executed"] as const
      : [125, "command_not_started", errnoOf(error) ?? messageOf(error)] as const;
    throw new Failure(exit, `Cannot start hook "${program}": ${what}`, { code, cause: error });
  }
}

/** To the hook alone, as the runner does. */
function passOn(child: Deno.ChildProcess, name: Deno.Signal): void {
  try {
    child.kill(name);
  } catch {
    // It has ended this very moment: nobody is left to be told.
  }
}

/** Feeds the hook what we are given, and reads along. */
class InputTap {
  /** What came so far. */
  text = "";
  /** What the server said before the hook can have started a step; undefined where none is known. */
  wordBefore: Promise<ServerWord> | undefined;

  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #passed: Promise<void>;

  constructor(from: ReadableStream<Uint8Array<ArrayBuffer>>, to: WritableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = from.getReader();
    this.#writer = to.getWriter();
    this.#passed = this.#pass();
  }

  /** The hook has ended, and what it did not read is nobody's. */
  async stop(): Promise<void> {
    await this.#reader.cancel();
    await this.#passed;
  }

  async #pass(): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for (;;) {
        const { value, done } = await this.#reader.read();
        if (done) break;
        if (this.text.length < INPUT_LIMIT_CHARS) this.text += decoder.decode(value, { stream: true });
        this.#askBefore();
        await this.#writer.write(value);
      }
      await this.#writer.close();
    } catch {
      await this.#writer.abort().catch(() => {}); // a hook need not read its input; its status tells
    }
  }

  /** Once the state is there; the hook has not seen the end of its line yet, so it cannot be faster. */
  #askBefore(): void {
    if (this.wordBefore !== undefined || !this.text.trimEnd().endsWith("}")) return;
    const { place } = placeOf(this.text);
    if (place !== undefined) this.wordBefore = askServer(place);
  }
}

async function passOutput(
  from: ReadableStream<Uint8Array<ArrayBuffer>>,
  sink: OutputSink,
  stream: StreamName,
  filter: WrapFilter,
): Promise<void> {
  try {
    for await (const piece of from) {
      for (const part of filter.push(piece)) await sink.write(stream, part);
    }
  } catch (error) {
    // Leaving the loop closed the hook's pipe: it sees what it would without us, that its reader is gone.
    if (!(error instanceof Failure)) throw error;
  }
}

/** Whether `work` was done in that time. */
async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), ms));
  const isDone = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return isDone;
}
