/**
 * Runs a command as if this process were not there: its terminal, standard input, process group and environment are
 * ours, it gets every signal that we get, once, and its end is ours. As PID 1 of a container we also reap what
 * other processes leave behind.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { whileIgnoring } from "../host/dispositions.ts";
import { errnoOf } from "../host/errno.ts";
import { OrphanReaper } from "../host/orphans.ts";
import { type ChildEnd, endOf } from "../host/process.ts";
import { whileReleased } from "../host/held_signals.ts";
import type { SamplerMessage } from "./sampler_child.ts";

/** A signal that came to us. */
export interface SignalEvent {
  readonly name: Deno.Signal;
  /** The terminal sent it to the whole foreground group: the command has it already. */
  readonly isFromTerminal: boolean;
}

/** What goes on beside the command. */
export interface Companion {
  tell(message: SamplerMessage): void;
  end(message: SamplerMessage, deadlineMs: number): Promise<void>;
}

/** How the command is run. */
export interface EntrypointOptions {
  readonly argv: readonly [string, ...string[]];
  /** Calls back for each signal from now on, those included that came before. */
  readonly listen: (handler: (event: SignalEvent) => void) => void;
  /** Numbers of the signals that the command is to ignore, because we were started so. */
  readonly ignored: ReadonlySet<number>;
  /**
   * Starts the companion when the command runs. `known` are the process ids that are waited for; `sinceUptime` is
   * /proc/uptime from before the command, in seconds.
   */
  readonly accompany: (known: Set<number>, sinceUptime: number, onBrokenPipe: () => void) => Companion;
  /** How long the companion may take to finish after the command. */
  readonly companionMs?: number;
  readonly proc?: string;
}

/** A broken pipe of our own raises SIGPIPE before the write reports it. */
const OWN_PIPE_MS = 200;
/** SIGCHLD is merged and may be missed; this finds the rest. */
const REAP_EVERY_MS = 5_000;
/** Signals whose default is to stop: the shell that waits for us must see us stopped, not only the command. */
const STOPPING: readonly Deno.Signal[] = ["SIGTSTP", "SIGTTIN", "SIGTTOU"];
/** A command that catches them does not stop, and then neither do we. */
const STOP_ROUNDS = 20;
const STOP_ROUND_MS = 25;

/** Runs `argv` to its end and tells how it ended. A command that cannot be started is a Failure (125, 126, 127). */
export async function runEntrypoint(options: EntrypointOptions): Promise<ChildEnd> {
  const { argv, listen, ignored, accompany, companionMs = 5_000, proc = "/proc" } = options;
  const early: SignalEvent[] = [];
  let onSignal = (event: SignalEvent): void => void early.push(event);
  listen((event) => onSignal(event));

  const known = new Set<number>();
  const reaper = new OrphanReaper(known, { proc });
  const sinceUptime = uptime(proc);
  const child = whileReleased(() => whileIgnoring(ignored, () => spawn(argv)));
  known.add(child.pid);
  let hasEnded = false;
  let ownBrokenPipes = 0;
  const companion = accompany(known, sinceUptime, () => ownBrokenPipes++);

  function forward(name: Deno.Signal): void {
    if (hasEnded) return;
    try {
      Deno.kill(child.pid, name);
    } catch {
      return; // it has ended this very moment: nobody is left to be told
    }
    if (name !== "SIGCONT" && name !== "SIGWINCH") companion.tell({ kind: "signal", name });
  }

  onSignal = ({ name, isFromTerminal }) => {
    if (name === "SIGCHLD") return void reaper.reap();
    if (name === "SIGPIPE") {
      return void setTimeout(() => ownBrokenPipes > 0 ? ownBrokenPipes-- : forward(name), OWN_PIPE_MS);
    }
    if (!isFromTerminal) forward(name);
    else if (name !== "SIGWINCH") companion.tell({ kind: "signal", name });
    if (STOPPING.includes(name)) void stopWith(child.pid, proc);
  };
  for (const event of early) onSignal(event);

  const timer = setInterval(() => reaper.reap(), REAP_EVERY_MS);
  try {
    const end = await endOf(child);
    hasEnded = true;
    known.delete(child.pid);
    await companion.end({ kind: "end", ...end }, companionMs);
    return end;
  } finally {
    clearInterval(timer);
  }
}

/** Stops this process when `pid` has stopped: whoever waits for us sees the command. PID 1 cannot be stopped. */
async function stopWith(pid: number, proc: string): Promise<void> {
  for (let round = 0; round < STOP_ROUNDS; round++) {
    if (isStopped(pid, proc)) return Deno.kill(Deno.pid, "SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, STOP_ROUND_MS));
  }
}

function isStopped(pid: number, proc: string): boolean {
  try {
    const stat = Deno.readTextFileSync(`${proc}/${pid}/stat`);
    return stat[stat.lastIndexOf(")") + 2] === "T";
  } catch {
    return false; // it has ended
  }
}

/** Seconds; infinite where it cannot be read, so that nothing counts as new by mistake. */
function uptime(proc: string): number {
  try {
    return Number.parseFloat(Deno.readTextFileSync(`${proc}/uptime`));
  } catch {
    return Infinity;
  }
}

function spawn([program, ...args]: readonly [string, ...string[]]): Deno.ChildProcess {
  try {
    return new Deno.Command(program, { args, stdin: "inherit", stdout: "inherit", stderr: "inherit" })
      .spawn();
  } catch (error) {
    const errno = errnoOf(error);
    const [exit, code] = error instanceof Deno.errors.NotFound
      ? [127, "command_missing"] as const
      : error instanceof Deno.errors.PermissionDenied
      ? [126, "command_not_executable"] as const
      : [125, "command_not_started"] as const;
    const what = exit === 127
      ? "there is no such program, or the interpreter that it names is missing"
      : exit === 126
      ? "it may not be executed"
      : errno ?? messageOf(error);
    throw new Failure(exit, `Cannot start "${program}": ${what}`, { code, cause: error });
  }
}
