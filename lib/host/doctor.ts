/**
 * `davit doctor`: looks at this machine from a process of its own. A thread that waits for a file server
 * that is gone cannot be killed, and a process with such a thread cannot exit (measured with sshfs and a
 * stopped server: ten minutes, until the server went on). So the looks are made by a child, each finding
 * comes as a line, and what does not come is reported and left behind.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { type Finding, type Report, shown, worstOf } from "./doctor/check.ts";
import { checksOf, type Surroundings } from "./doctor/checks.ts";
import { TextLineStream } from "./doctor/lines.ts";
import { GRACE_MS, noAnswer, runChecks } from "./doctor/run_checks.ts";
import { errnoOf } from "./errno.ts";
import type { Log } from "./log.ts";
import { spawnWithoutInput } from "./no_input.ts";
import type { ProgramStart } from "./self.ts";

/** What {@linkcode examine} needs. */
export interface ExamineOptions {
  /** How to start a davit that calls {@linkcode probe} with the same surroundings; may throw. */
  readonly start: () => ProgramStart;
  readonly deadlineMs?: number;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/**
 * What a check may take; five seconds is what a healthy nvidia-smi needs on a host with eight GPUs at
 * worst.
 */
const DEADLINE_MS = 5_000;
/** A davit on a busy machine, from a slow disk. */
const START_MS = 30_000;
const END_MS = 1_000;
const KEPT_STDERR_CHARS = 2_000;

/** The child's part: makes the checks and hands out what it has to say, one value per line to print. */
export async function probe(
  surroundings: Surroundings,
  { deadlineMs = DEADLINE_MS, signal, say }: {
    deadlineMs?: number;
    signal: AbortSignal;
    say: (value: unknown) => void;
  },
): Promise<void> {
  say({ ready: true });
  await runChecks(checksOf(surroundings), {
    deadlineMs,
    signal,
    onFinding: (index, finding) => say({ index, finding }),
  });
}

/** Makes the report. Throws the abort reason, else nothing: whatever goes wrong is a finding. */
export async function examine(surroundings: Surroundings, options: ExamineOptions): Promise<Report> {
  const { deadlineMs = DEADLINE_MS, signal, log } = options;
  signal.throwIfAborted();
  const checks = checksOf(surroundings);
  const findings = new Array<Finding | undefined>(checks.length).fill(undefined);
  const onFinding = (index: number, finding: Finding) => findings[index] = finding;
  let trouble: string | undefined;
  const child = startProbe(options);
  if (typeof child === "string") {
    log.warn("no process of its own for the checks: a dead mount may keep this one from ending", {
      reason: child,
    });
    await runChecks(checks, { deadlineMs, signal, onFinding });
  } else {
    trouble = await supervise(child, { count: checks.length, deadlineMs, signal, onFinding });
  }
  signal.throwIfAborted();
  const lines = checks.map(({ name, place }, index) => ({
    name,
    ...place === undefined ? {} : { place },
    ...findings[index] ?? (trouble === undefined ? noAnswer(deadlineMs) : untold(trouble)),
  }));
  return { schema: 1, checks: lines, state: worstOf(lines.map(({ state }) => state)) };
}

/** The child, or why there is none. */
function startProbe({ start }: ExamineOptions): Deno.ChildProcess | string {
  try {
    const { argv: [program, ...args], env } = start();
    return spawnWithoutInput(program, {
      args,
      env,
      stdout: "piped",
      stderr: "piped",
      detached: true,
    });
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof Failure)) throw error;
    return messageOf(error);
  }
}

interface Supervision {
  readonly count: number;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  readonly onFinding: (index: number, finding: Finding) => void;
}

/**
 * Collects findings until all are here, or none can be expected any more; says why when the child is to
 * blame.
 */
async function supervise(child: Deno.ChildProcess, supervision: Supervision): Promise<string | undefined> {
  const { count, deadlineMs, signal, onFinding } = supervision;
  const status = child.status.then(({ code, signal }) => signal ?? `exit status ${code}`, messageOf);
  const stderr = tailOf(child.stderr);
  const { promise: over, resolve: endNow } = Promise.withResolvers<"late">();
  let timer = setTimeout(() => endNow("late"), START_MS);
  const onAbort = () => {
    signalChild(child.pid, "SIGTERM"); // it removes what it made
    clearTimeout(timer);
    timer = setTimeout(() => endNow("late"), GRACE_MS + END_MS);
  };
  signal.addEventListener("abort", onAbort);
  const heard = new Set<number>();
  let isReady = false;
  const reading = (async (): Promise<"all" | "eof"> => {
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    for await (const line of lines) {
      const said = parseLine(line);
      if (said === undefined) continue;
      if ("ready" in said) {
        isReady = true;
        clearTimeout(timer);
        timer = setTimeout(() => endNow("late"), deadlineMs + 2 * GRACE_MS);
      } else if (said.index < count) {
        onFinding(said.index, said.finding);
        heard.add(said.index);
        if (heard.size === count) return "all";
      }
    }
    return "eof";
  })();
  reading.catch(() => {}); // what the child could not say shows in its status
  const how = await Promise.race([reading, over]);
  signal.removeEventListener("abort", onAbort);
  clearTimeout(timer);
  const ended = await inTime(status);
  if (ended === undefined) {
    signalChild(-child.pid, "SIGKILL");
    child.unref();
  }
  if (how === "all") return undefined;
  if (how === "late") return isReady ? undefined : `it did not start within ${START_MS / 1_000} s`;
  return `${ended ?? "it does not end"}${shownTail(await inTime(stderr))}`;
}

function untold(trouble: string): Finding {
  return {
    state: "degraded",
    detail: `not known: the process that looks ended early: ${trouble}`,
    cost: "not known",
    mend: "run it again; see `dmesg` for an OOM kill, and the limits of memory and processes",
  };
}

async function inTime<T>(promise: Promise<T>): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), END_MS);
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function signalChild(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error; // it has ended meanwhile
  }
}

type Said = { ready: true } | { index: number; finding: Finding };

/** The child is davit, but an abrupt end may cut its last line. */
function parseLine(line: string): Said | undefined {
  try {
    return JSON.parse(line) as Said;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

async function tailOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  let kept = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    kept = (kept + text).slice(-KEPT_STDERR_CHARS);
  }
  return kept;
}

function shownTail(text = ""): string {
  return text.trim() === "" ? "" : `: ${shown(text.trim().split("\n")[0]!)}`;
}
