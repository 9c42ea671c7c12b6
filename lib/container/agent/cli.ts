/**
 * Calls of a container runtime's CLI: argv, never a shell; stdout apart from stderr, because some CLIs warn on stderr
 * on every call; and what kept a call from doing anything told apart by its cause.
 *
 * @module
 */
import { type ExitName, Failure } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";
import { spawnWithoutInput } from "../../host/no_input.ts";
import { endOf } from "../../host/process.ts";
import type { SudoMode } from "../spec.ts";
import type { CliFault, Runtime } from "./common.ts";

/** How a call ended that the CLI itself answered, well or not. */
export interface CliEnd {
  readonly code: number;
  readonly stdout: Uint8Array<ArrayBuffer>;
  /** The end of it. */
  readonly stderr: string;
}

/** One call. */
export interface CliCall {
  readonly signal: AbortSignal;
  /** Added to the CLI's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: Uint8Array<ArrayBuffer>;
  readonly timeoutMs?: number;
  /** Gets both outputs line by line. */
  readonly onLine?: (line: string) => void;
}

/** What the CLIs of one host share. */
export interface CliOptions {
  /** All of the CLI's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Of a call without a deadline of its own. */
  readonly timeoutMs: number;
}

const STDOUT_LIMIT_BYTES = 64 << 20;
const STDERR_KEPT_CHARS = 65_536;
const LINE_LIMIT_CHARS = 4_096;
const decoder = new TextDecoder();

/** A runtime's CLI on this host. */
export class Cli {
  readonly runtime: Runtime;
  readonly #options: CliOptions;
  readonly #mode: SudoMode;
  #isSudo: boolean;
  #isProbed = false;
  #isSettled = false;

  constructor(runtime: Runtime, sudo: SudoMode, options: CliOptions) {
    this.runtime = runtime;
    this.#options = options;
    this.#mode = sudo;
    this.#isSudo = sudo === "always";
  }

  /** Whether calls go through sudo; with `auto` known after the first call. */
  get isSudo(): boolean {
    return this.#isSudo;
  }

  get env(): Readonly<Record<string, string>> {
    return this.#options.env;
  }

  /** Runs to the end. Throws a Failure whose code is a {@linkcode CliFault}; other ends are the caller's to judge. */
  async run(args: readonly string[], call: CliCall): Promise<CliEnd> {
    const end = await this.#once(args, call);
    const fault = this.faultOf(end);
    if (fault === undefined) {
      this.#isSettled = true;
      return end;
    }
    if (fault === "permission" && await this.#gainSudo(call)) return await this.run(args, call);
    throw this.fault(fault, end.stderr);
  }

  /** Like {@linkcode run}, for a call whose failure is a Failure: `Cannot <what>: <the CLI's last words>`. */
  async must(args: readonly string[], what: string, call: CliCall): Promise<CliEnd> {
    const end = await this.run(args, call);
    if (end.code !== 0) throw callFailed(what, end);
    return end;
  }

  /** Finds out whether sudo is needed, where no call has yet: before {@linkcode spawn}. */
  async settle(signal: AbortSignal): Promise<void> {
    if (this.#isSettled || this.#mode !== "auto" || Deno.uid() === 0) return;
    await this.run(["version"], { signal });
  }

  /** Starts a call whose streams are the caller's business. */
  spawn(args: readonly string[], options: Omit<Deno.CommandOptions, "args" | "clearEnv">): Deno.ChildProcess {
    const [program, ...words] = this.#argv(args);
    try {
      return new Deno.Command(program, {
        ...options,
        args: words,
        clearEnv: true,
        env: { ...this.#options.env, LC_ALL: "C", ...options.env },
      }).spawn();
    } catch (error) {
      throw this.#notSpawned(error);
    }
  }

  /** The Failure for what kept the CLI from doing anything. */
  fault(fault: CliFault, stderr: string): Failure {
    const { program } = this.runtime;
    const said = lastWords(stderr);
    const [exit, what, hint] = FAULTS[fault];
    return new Failure(exit, `Cannot use ${program}: ${what}${said === "" ? "" : `: ${said}`}`, {
      code: fault,
      hint: hint.replaceAll("PROGRAM", program),
    });
  }

  /** What an end says of the CLI, not of the call. */
  faultOf({ code, stderr }: Pick<CliEnd, "code" | "stderr">): CliFault | undefined {
    if (code === 0) return undefined;
    if (this.#isSudo && /^sudo: /m.test(stderr)) return "sudo";
    return this.runtime.faultOf(stderr);
  }

  #argv(args: readonly string[], isSudo = this.#isSudo): [string, ...string[]] {
    const { program } = this.runtime;
    if (!isSudo) return [program, ...args];
    return ["sudo", "-n", "--", program, ...this.runtime.wordsForSudo(this.#options.env), ...args];
  }

  /** With `auto`, once, where we are not root: whether sudo gives what we were refused. */
  async #gainSudo(call: CliCall): Promise<boolean> {
    if (this.#mode !== "auto" || this.#isSudo || this.#isProbed || Deno.uid() === 0) return false;
    this.#isProbed = true;
    const { signal } = call;
    try {
      // A command that sudo's rules allow wherever they allow the CLI at all.
      const { code } = await this.#once(["version"], { signal }, true);
      this.#isSudo = code === 0;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // No sudo here, or none in time: the refusal stands.
    }
    return this.#isSudo;
  }

  async #once(args: readonly string[], call: CliCall, isSudo = this.#isSudo): Promise<CliEnd> {
    const { signal, stdin, env = {}, timeoutMs = this.#options.timeoutMs, onLine } = call;
    signal.throwIfAborted();
    const [program, ...words] = this.#argv(args, isSudo);
    const options: Deno.CommandOptions = {
      args: words,
      clearEnv: true,
      env: { ...this.#options.env, LC_ALL: "C", ...env },
      stdout: "piped",
      stderr: "piped",
    };
    let child: Deno.ChildProcess;
    try {
      child = stdin === undefined
        ? spawnWithoutInput(program, options)
        : new Deno.Command(program, { ...options, stdin: "piped" }).spawn();
    } catch (error) {
      throw this.#notSpawned(error, program);
    }
    const given = Promise.withResolvers<never>();
    given.promise.catch(() => {}); // seen by the race below
    const stop = (reason: unknown) => {
      killNow(child);
      given.reject(reason);
    };
    const timer = setTimeout(
      () => stop(this.fault("timeout", `no answer to "${args[0]}" within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const onAbort = () => stop(signal.reason);
    signal.addEventListener("abort", onAbort);
    try {
      const work = Promise.all([
        collect(child.stdout, onLine),
        tail(child.stderr, onLine),
        stdin === undefined ? undefined : feed(child.stdin, stdin),
        endOf(child),
      ]);
      const [stdout, stderr, , { code }] = await Promise.race([work, given.promise]);
      return { code, stdout, stderr };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  #notSpawned(error: unknown, program = this.#argv([])[0]): unknown {
    const errno = errnoOf(error);
    if (errno === "E2BIG") {
      return new Failure(
        "DATAERR",
        `Cannot call ${this.runtime.program}: a value is longer than the kernel passes`,
        {
          code: "value_too_long",
          hint: "no value of a variable may be longer than 128 KiB",
          cause: error,
        },
      );
    }
    if (errno === "ENOENT" || errno === "EACCES") {
      return program === "sudo"
        ? this.fault("sudo", `there is no program "sudo" on PATH`)
        : this.fault("runtime_missing", `there is no program "${program}" on PATH`);
    }
    return error;
  }
}

const FAULTS: Readonly<Record<CliFault, readonly [ExitName, string, string]>> = {
  runtime_missing: [
    "UNAVAILABLE",
    "it is not installed",
    "install PROGRAM there, or choose another --runtime",
  ],
  sudo: ["NOPERM", "sudo refuses", "allow `sudo -n PROGRAM` there without a password, or use --sudo never"],
  daemon: [
    "UNAVAILABLE",
    "its service does not answer",
    "start PROGRAM's service there, or set its socket's address",
  ],
  permission: ["NOPERM", "this user may not", "let the user use PROGRAM there, or use --sudo always"],
  timeout: ["TEMPFAIL", "it is stuck", "look at PROGRAM's service on that host"],
};

/** The Failure for a call that the CLI answered with an error. */
export function callFailed(
  what: string,
  { code, stderr }: Pick<CliEnd, "code" | "stderr">,
  name = "call_failed",
): Failure {
  return new Failure("UNAVAILABLE", `Cannot ${what}: ${lastWords(stderr) || `the runtime exited ${code}`}`, {
    code: name,
  });
}

/** The last lines of what a CLI printed, in one line. Escaping is for whoever shows it. */
export function lastWords(stderr: string, lines = 3): string {
  return stderr.trim().split("\n").map((line) => line.trim()).filter(Boolean).slice(-lines).join(" | ").slice(
    -1_000,
  );
}

/** The text of a call's stdout. */
export function textOf({ stdout }: Pick<CliEnd, "stdout">): string {
  return decoder.decode(stdout);
}

/** SIGKILL; a child that has ended is fine, and so is one that sudo made root's: it ends with its pipes. */
export function killNow(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof Deno.errors.PermissionDenied)) throw error;
  }
}

async function collect(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine?: (line: string) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const lines = onLine && lineSplitter(onLine);
  let size = 0;
  for await (const chunk of stream) {
    lines?.(chunk);
    size += chunk.length;
    if (size > STDOUT_LIMIT_BYTES) {
      throw new Failure(
        "PROTOCOL",
        `Cannot read the runtime's answer: it is longer than ${STDOUT_LIMIT_BYTES} bytes`,
        {
          code: "protocol",
        },
      );
    }
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

async function tail(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine?: (line: string) => void,
): Promise<string> {
  const decoder = new TextDecoder();
  const lines = onLine && lineSplitter(onLine);
  let kept = "";
  for await (const chunk of stream) {
    lines?.(chunk);
    kept = (kept + decoder.decode(chunk, { stream: true })).slice(-STDERR_KEPT_CHARS);
  }
  return kept;
}

/** Progress bars end their lines by a carriage return. */
function lineSplitter(onLine: (line: string) => void): (chunk: Uint8Array) => void {
  const decoder = new TextDecoder();
  let rest = "";
  return (chunk) => {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/[\r\n]+/);
    rest = lines.pop()!.slice(-LINE_LIMIT_CHARS);
    for (const line of lines) if (line.trim() !== "") onLine(line.slice(0, LINE_LIMIT_CHARS));
  };
}

async function feed(
  stream: WritableStream<Uint8Array<ArrayBuffer>>,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const writer = stream.getWriter();
  try {
    await writer.write(bytes);
    await writer.close();
  } catch (error) {
    // It ended without reading all: its status tells why.
    if (errnoOf(error) !== "EPIPE") throw error;
  }
}
