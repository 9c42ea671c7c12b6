/**
 * Runs real programs for tests, each in a session of its own, so that a timeout ends the whole group by its
 * number and a Ctrl-C at the test runner does not reach them. Every wait and every buffer has a bound.
 *
 * @module
 */

/** How a program is started. */
export interface RunOptions {
  /** What it reads; without it, its standard input is /dev/null. */
  stdin?: string | Uint8Array<ArrayBuffer> | undefined;
  /** Added to the environment of the test; an undefined value takes the variable away. */
  env?: Record<string, string | undefined> | undefined;
  cwd?: string | undefined;
  /** After this its group is killed and the wait fails; 60 s. */
  timeoutMs?: number | undefined;
  /** Kills the group when it aborts, and the wait fails with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** How a program ended. */
export interface RunResult {
  /** The exit status; 128 and the signal's number when a signal ended it. */
  readonly code: number;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that runs. Leaving its `await using` block kills its group, if the program still lives. */
export interface LiveProcess extends AsyncDisposable {
  readonly pid: number;
  /** What it has printed so far. */
  stdout(): string;
  stderr(): string;
  /** Waits (30 s) until its stdout or its stderr matches; fails when both end first. */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Sends a signal to the process, or with `group` to its whole group; what has ended is left alone. */
  kill(signal: Deno.Signal, options?: { group?: boolean }): void;
  /** Settles when it has ended and its output is read to the end. */
  readonly done: Promise<RunResult>;
}

const TIMEOUT_MS = 60_000;
/** A start takes half a second, and ten times that beside a busy machine's other work. */
const PATTERN_TIMEOUT_MS = 30_000;
const OUTPUT_LIMIT_CHARS = 64 << 20;
/** How long output may stay open after a kill: a grandchild in a session of its own may hold the pipe. */
const DRAIN_MS = 1_000;
const SHOWN_CHARS = 4_000;

/** Runs `argv` to its end. Any exit status is a result; a timeout, an abort and a missing program throw. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return await start(argv, options).done;
}

/** Starts `argv`; the caller awaits `done` or leaves an `await using` block. */
export function start(argv: readonly string[], options: RunOptions = {}): LiveProcess {
  const { stdin, cwd, timeoutMs = TIMEOUT_MS, signal } = options;
  signal?.throwIfAborted();
  const [program = "", ...args] = argv;
  const child = new Deno.Command(program, {
    args,
    ...cwd === undefined ? {} : { cwd },
    clearEnv: true,
    env: merged(Deno.env.toObject(), options.env),
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();

  const watchers = new Set<() => void>();
  const stdout = collect(child.stdout, onOutput);
  const stderr = collect(child.stderr, onOutput);
  let fault: unknown;
  const drained = Promise.withResolvers<void>();
  let drainTimer: ReturnType<typeof setTimeout> | undefined;
  let processEnded = false;
  let allEnded = false;

  function onOutput(chars: number): void {
    if (chars > OUTPUT_LIMIT_CHARS) {
      stop(() => complaint(`printed more than ${OUTPUT_LIMIT_CHARS} characters`));
    }
    for (const watcher of watchers) watcher();
  }

  function complaint(what: string): Error {
    const shown = [["stdout", stdout.text()], ["stderr", stderr.text()]]
      .map(([name, text]) => `\n--- ${name}\n${text!.slice(-SHOWN_CHARS)}`);
    return new Error(`${JSON.stringify(argv)} ${what}${shown.join("")}`);
  }

  function kill(name: Deno.Signal, { group = false } = {}): void {
    if (processEnded && !group) return; // the number may be another's by now
    try {
      Deno.kill(group ? -child.pid : child.pid, name);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  function stop(reason: () => unknown): void {
    if (drainTimer !== undefined) return;
    fault = reason();
    kill("SIGKILL", { group: true });
    drainTimer = setTimeout(() => {
      stdout.cancel();
      stderr.cancel();
      drained.resolve();
    }, DRAIN_MS);
  }

  async function finish(): Promise<RunResult> {
    const timer = setTimeout(() => stop(() => complaint(`still ran after ${timeoutMs} ms`)), timeoutMs);
    const onAbort = () => stop(() => signal?.reason);
    signal?.addEventListener("abort", onAbort);
    try {
      const fed = stdin === undefined ? undefined : feed(child.stdin, stdin);
      const status = await statusOf(child);
      processEnded = true;
      await Promise.race([Promise.all([stdout.ended, stderr.ended, fed]), drained.promise]);
      if (drainTimer !== undefined) throw fault;
      return { ...status, stdout: stdout.text(), stderr: stderr.text() };
    } finally {
      allEnded = true;
      clearTimeout(timer);
      clearTimeout(drainTimer);
      signal?.removeEventListener("abort", onAbort);
      for (const watcher of watchers) watcher();
    }
  }

  const done = finish();
  done.catch(() => {}); // seen by whoever awaits it; a process that nobody awaits was ended on purpose

  return {
    pid: child.pid,
    stdout: stdout.text,
    stderr: stderr.text,
    kill,
    done,
    async waitFor(pattern, patternTimeoutMs = PATTERN_TIMEOUT_MS) {
      const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
      function look(): void {
        const match = pattern.exec(stdout.text()) ?? pattern.exec(stderr.text());
        if (match) resolve(match);
        else if (allEnded) reject(complaint(`ended without printing ${pattern}`));
      }
      const timer = setTimeout(() => reject(complaint(`did not print ${pattern}`)), patternTimeoutMs);
      watchers.add(look);
      look();
      return await promise.finally(() => {
        clearTimeout(timer);
        watchers.delete(look);
      });
    },
    async [Symbol.asyncDispose]() {
      if (!allEnded) stop(() => complaint("was ended by its test"));
      await done.catch(() => {});
    },
  };
}

function merged(
  base: Record<string, string>,
  changes: Record<string, string | undefined> = {},
): Record<string, string> {
  const entries = Object.entries({ ...base, ...changes }).filter((entry) => entry[1] !== undefined);
  return Object.fromEntries(entries) as Record<string, string>;
}

/** A signal without a name in Deno (real-time ones) makes `status` throw "Invalid signal: 35". */
async function statusOf(child: Deno.ChildProcess): Promise<Pick<RunResult, "code" | "signal">> {
  try {
    const { code, signal } = await child.status;
    return { code, signal };
  } catch (error) {
    const number = error instanceof TypeError ? /^Invalid signal: (\d+)/.exec(error.message)?.[1] : undefined;
    if (number === undefined) throw error;
    return { code: 128 + Number(number), signal: number };
  }
}

async function feed(stream: WritableStream<Uint8Array<ArrayBuffer>>, data: string | Uint8Array<ArrayBuffer>) {
  const writer = stream.getWriter();
  try {
    await writer.write(typeof data === "string" ? new TextEncoder().encode(data) : data);
    await writer.close();
  } catch (error) {
    // A program may end without reading all of its input; its status tells whether that was right.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

function collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>, onOutput: (chars: number) => void) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  async function readAll(): Promise<void> {
    for (;;) {
      const { value, done } = await reader.read();
      text += decoder.decode(value, { stream: !done });
      if (done) return;
      onOutput(text.length);
    }
  }
  return { text: () => text, ended: readAll(), cancel: () => void reader.cancel().catch(() => {}) };
}

const ROOT = decodeURIComponent(new URL("../", import.meta.url).pathname);

/**
 * The command line that runs davit from source, for programs that start it themselves (strace, sh, unshare).
 * The configuration is named because Deno looks for it from the working directory, which may be elsewhere.
 */
export function davitArgv(args: readonly string[]): string[] {
  const deno = [Deno.execPath(), "run", "-A", "--no-prompt", "--quiet", `--config=${ROOT}deno.json`];
  return [...deno, `${ROOT}main.ts`, ...args];
}

/**
 * The environment of a davit under test: no setting, Slurm job or home of the person who runs the tests shows
 * through. Nothing can be made below that HOME, so a test that relies on a default place gives its own.
 */
export function davitEnv(
  changes: Record<string, string | undefined> = {},
): Record<string, string | undefined> {
  const ours = Deno.env.toObject();
  const foreign = Object.keys(ours).filter((name) =>
    /^(DAVIT|SLURM|ENROOT|XDG|DOCKER|REGISTRY_AUTH)_/.test(name)
  );
  const denoDir = ours.DENO_DIR ?? `${ours.XDG_CACHE_HOME ?? `${ours.HOME ?? "/root"}/.cache`}/deno`;
  return {
    ...Object.fromEntries([...foreign, "NETRC", "CI"].map((name) => [name, undefined])),
    DENO_DIR: denoDir,
    DENO_NO_UPDATE_CHECK: "1",
    NO_COLOR: "1",
    HOME: "/proc/davit-tests-have-no-home",
    // Without a configuration scontrol asks DNS for a controller.
    SLURM_CONF: "/proc/davit-tests-have-no-slurm",
    ...changes,
  };
}

/** Runs davit from source with `args` to its end; see {@linkcode davitEnv} for what it can see. */
export async function davit(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return await startDavit(args, options).done;
}

/** Starts davit from source with `args`. */
export function startDavit(args: readonly string[], options: RunOptions = {}): LiveProcess {
  return start(davitArgv(args), { ...options, cwd: options.cwd ?? ROOT, env: davitEnv(options.env) });
}
