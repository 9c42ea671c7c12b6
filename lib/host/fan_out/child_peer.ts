/**
 * A connection that a child process carries: ssh or srun here, davit at its other end.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { errnoOf } from "../errno.ts";
import type { Log } from "../log.ts";
import { escapeControls } from "../logfmt.ts";
import { type ChildEnd, endGroup, endOf } from "../process.ts";
import { FrameReader } from "./frames.ts";
import { connectPeer } from "./peer.ts";
import { type PortableFile, PUSH_LINE_REGEXP, sendPortable } from "./push.ts";
import type { ConnectCode, Peer } from "./rpc.ts";

/** What became of a connection that never was. */
export interface ConnectEnd {
  readonly end: ChildEnd;
  /** The end of the child's stderr, as it came. */
  readonly stderr: string;
  /** What came instead of davit's hello, the last lines. */
  readonly greeting: readonly string[];
}

/** Why a connection could not be made, as ssh.ts and slurm.ts make it out. */
export interface ConnectFault {
  readonly code: ConnectCode;
  readonly what: string;
  readonly hint?: string | undefined;
  /** The host was too busy to talk: the next try may do. */
  readonly isPassing?: boolean | undefined;
}

/** What one try gave instead of a connection, when another try may do better. */
export type NextTry =
  /** This place of push.ts could not store the portable file. */
  | { readonly kind: "place"; readonly place: number }
  /** Nothing at all was heard. */
  | { readonly kind: "silence" }
  | { readonly kind: "busy"; readonly failure: Failure };

/** How to reach a host. */
export interface ChildPeerOptions {
  readonly host: string;
  readonly argv: readonly [string, ...string[]];
  /** Added to this process' own. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** The argv runs the script of push.ts, which may want this. */
  readonly push?: PortableFile | undefined;
  readonly classify: (end: ConnectEnd) => ConnectFault;
  /** Give up after so long when nothing at all was heard; undefined = only at the deadline. */
  readonly silenceMs?: number | undefined;
  /** For the other end to tidy up when it was asked to end, 10 s; then ssh or srun is ended here. */
  readonly endGraceMs?: number | undefined;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

const STDERR_KEPT_CHARS = 8_192;
const GREETING_KEPT_LINES = 10;
const SHOWN_LINES = 3;
const SHOWN_CHARS = 400;
const END_GRACE_MS = 10_000;
const KILL_GRACE_MS = 1_000;
/** A master of ssh may hold the pipe open when its client has ended. */
const DRAIN_MS = 500;

/** Tries once. Rejects as Connector.connect does. */
export async function connectChild(options: ChildPeerOptions): Promise<Peer | NextTry> {
  const { host, argv, push, classify, log, timeoutMs, endGraceMs = END_GRACE_MS } = options;
  options.signal.throwIfAborted();
  const child = spawn(host, argv, options.env);
  let hasEnded = false;
  const stderr = keepTail(child.stderr, (line) => log.debug("the far end says", { host, line }));
  const reader = new FrameReader(child.stdout);
  const greeting: string[] = [];
  const onGreeting = (line: string) => {
    greeting.push(line.slice(0, SHOWN_CHARS));
    if (greeting.length > GREETING_KEPT_LINES) greeting.shift();
    log.debug("skipped what the host says before davit does", { host, line });
  };

  async function shakeHands(): Promise<boolean | NextTry> {
    if (push !== undefined) {
      const match = await reader.readLine(PUSH_LINE_REGEXP, onGreeting);
      if (match?.[1] === undefined || match[1] === "nowhere") return false;
      if (match[1] === "absent") {
        log.info("bringing davit to the host", { host, size_bytes: push.sizeBytes });
        await sendPortable(push, child.stdin);
        const said = await reader.readHello(onGreeting, PUSH_LINE_REGEXP);
        return typeof said === "object" ? { kind: "place", place: Number(said[2]) } : said === true;
      }
    }
    return await reader.readHello(onGreeting) === true;
  }

  const tooLong = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([options.signal, tooLong]);
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort);
  const silence = Promise.withResolvers<NextTry>();
  const silenceTimer = options.silenceMs === undefined ? undefined : setTimeout(() => {
    if (!reader.hasRead && stderr.text() === "") silence.resolve({ kind: "silence" });
  }, options.silenceMs);
  try {
    const hello = await Promise.race([shakeHands(), silence.promise, aborted.promise]);
    if (hello === true) {
      return connectPeer({
        host,
        reader,
        writable: child.stdin,
        end: once((isBroken) => endChild(child, isBroken ? KILL_GRACE_MS : endGraceMs, argv[0], stderr)),
      });
    }
    if (typeof hello === "object") {
      await abandon();
      return hello;
    }
    // The stream has ended, and so does the child; one that only closed its stdout is ended.
    const end = await endWithin(child, KILL_GRACE_MS);
    hasEnded = true;
    await stderr.drain();
    await abandon();
    const fault = classify({ end, stderr: stderr.text(), greeting });
    const failure = connectFailure(host, fault);
    if (fault.isPassing) return { kind: "busy", failure };
    throw failure;
  } catch (error) {
    await abandon();
    options.signal.throwIfAborted();
    if (tooLong.aborted) {
      throw connectFailure(host, {
        code: "timeout",
        what: `davit there did not answer within ${timeoutMs} ms${lastWords(stderr.text())}`,
      });
    }
    if (error instanceof Failure && error.code === "protocol") {
      throw new Failure("PROTOCOL", error.message.replace("the other end", `"${host}"`), {
        code: "protocol",
        hint: "print nothing in the login shell's start-up files; `ssh HOST true` should be silent",
      });
    }
    throw error;
  } finally {
    clearTimeout(silenceTimer);
    signal.removeEventListener("abort", onAbort);
  }

  async function abandon(): Promise<void> {
    if (!hasEnded) await endGroup(child, { graceMs: KILL_GRACE_MS });
    hasEnded = true; // its number may be another's by now
    child.stdin.abort().catch(() => {}); // it is gone, or its lock is held by what is
    await reader.cancel();
  }
}

function spawn(
  host: string,
  [program, ...args]: readonly [string, ...string[]],
  env: Readonly<Record<string, string>> = {},
): Deno.ChildProcess {
  try {
    // In a session of its own: a Ctrl-C at the terminal is for us, who then end things in order.
    return new Deno.Command(program, {
      args,
      env: { ...env, LC_ALL: "C" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
  } catch (cause) {
    const isMissing = errnoOf(cause) === "ENOENT";
    throw new Failure(
      "UNAVAILABLE",
      `Cannot reach "${host}": "${program}" ${isMissing ? "is not on this machine" : `does not start here`}`,
      {
        code: "unreachable" satisfies ConnectCode,
        hint: isMissing ? `install ${program}` : undefined,
        cause,
      },
    );
  }
}

/** Waits for a child whose connection is over, ends what does not end, and says how it went. */
async function endChild(
  child: Deno.ChildProcess,
  graceMs: number,
  program: string,
  stderr: Tail,
): Promise<string> {
  const { code, signal } = await endWithin(child, graceMs);
  await stderr.drain();
  const how = signal === null ? `with status ${code}` : `by ${signal}`;
  return `${program} ended ${how}${lastWords(stderr.text())}`;
}

async function endWithin(child: Deno.ChildProcess, graceMs: number): Promise<ChildEnd> {
  const ended = endOf(child);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), graceMs));
  const first = await Promise.race([ended, late]);
  clearTimeout(timer);
  return first === "late" ? await endGroup(child, { graceMs: KILL_GRACE_MS }) : first;
}

/** `: "the last lines of stderr"`, escaped; nothing where there are none. */
export function lastWords(text: string): string {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "").slice(-SHOWN_LINES);
  return lines.length === 0 ? "" : `: "${escapeControls(lines.join(" / ").slice(-SHOWN_CHARS))}"`;
}

function connectFailure(host: string, { code, what, hint }: ConnectFault): Failure {
  return new Failure(code === "protocol" ? "PROTOCOL" : "UNKNOWN", `Cannot reach "${host}": ${what}`, {
    code,
    hint,
  });
}

/** The end of what a stream says. */
interface Tail {
  text(): string;
  /** Waits until it is read to its end, a moment at most. */
  drain(): Promise<void>;
}

function keepTail(stream: ReadableStream<Uint8Array>, onLine: (line: string) => void): Tail {
  let kept = "";
  const decoder = new TextDecoder();
  async function read(): Promise<void> {
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true });
      for (const line of text.split("\n")) if (line.trim() !== "") onLine(line.slice(0, SHOWN_CHARS));
      kept = (kept + text).slice(-STDERR_KEPT_CHARS);
    }
  }
  const ended = read();
  return {
    text: () => kept,
    async drain() {
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([ended, new Promise<void>((resolve) => timer = setTimeout(resolve, DRAIN_MS))]);
      clearTimeout(timer);
    },
  };
}

function once<A, T>(action: (argument: A) => Promise<T>): (argument: A) => Promise<T> {
  let result: Promise<T> | undefined;
  return (argument) => result ??= action(argument);
}
