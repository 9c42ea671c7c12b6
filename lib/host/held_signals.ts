/**
 * Signals read with their origin, for a process that passes them on. A Ctrl-C goes to every process of the
 * foreground group: who shares it with a child must pass on only what was meant for this process alone (`kill PID`),
 * or the child gets it twice.
 *
 * Only signalfd(2) shows a signal's origin (si_code), and only signals that every thread blocks reach it. Threads
 * run before JavaScript does, so this process blocks the signals in one thread and executes its own program again:
 * all threads of the new image inherit the mask. Children would, too: {@linkcode whileReleased} starts them without.
 *
 * That is also the one way to have a SIGUSR1: Deno 2.9.6 catches it half a second after its start and opens its
 * debugger on 127.0.0.1:9229 for whoever connects, whether there is a listener or not (measured).
 *
 * @module
 */
import { whileIgnoring } from "./dispositions.ts";
import { libc, signalSet } from "./libc.ts";

/** The signals that are passed on, by number: all that can be caught, but SIGCHLD, and no faults of our own. */
export const HELD_SIGNALS = {
  ...{ SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTRAP: 5, SIGABRT: 6, SIGBUS: 7, SIGUSR1: 10, SIGUSR2: 12 },
  ...{ SIGPIPE: 13, SIGALRM: 14, SIGTERM: 15, SIGSTKFLT: 16, SIGCONT: 18, SIGTSTP: 20, SIGTTIN: 21 },
  ...{ SIGTTOU: 22, SIGURG: 23, SIGXCPU: 24, SIGXFSZ: 25, SIGVTALRM: 26, SIGPROF: 27, SIGWINCH: 28 },
  ...{ SIGIO: 29, SIGPWR: 30, SIGSYS: 31 },
} as const satisfies Partial<Record<Deno.Signal, number>>;

/** Name of one of them. */
export type HeldSignal = keyof typeof HELD_SIGNALS;

/** Those that the kernel sends on behalf of a terminal, and then to a whole process group. */
export const TERMINAL_SIGNALS: readonly Deno.Signal[] = [
  ...["SIGHUP", "SIGINT", "SIGQUIT", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGWINCH"] as const,
];

const SIG_DFL = 0n;
const PR_SET_DUMPABLE = 4;
const SIG_BLOCK = 0;
const SIG_UNBLOCK = 1;
const SFD_CLOEXEC = 0o2000000;
/** struct signalfd_siginfo: ssi_signo at 0, ssi_code at 8. */
const SIGINFO_BYTES = 128;
const SI_KERNEL = 0x80;

let isHolding = false;

const names = new Map<number, HeldSignal>(
  Object.entries(HELD_SIGNALS).map(([name, number]) => [number, name as HeldSignal]),
);

/** Whether this process has a controlling terminal; proc(5), the field tty_nr of stat. */
export function hasTerminal({ proc = "/proc" }: { proc?: string } = {}): boolean {
  try {
    const stat = Deno.readTextFileSync(`${proc}/self/stat`);
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[4]) !== 0;
  } catch {
    return false; // no /proc: then there is nothing to find out about a signal's origin either
  }
}

/**
 * Executes `argv` in place of this program, with the signals held. Returns only when that fails, and
 * then nothing is changed. `ignored` are signals to be ignored from the start again.
 */
export function executeHolding(argv: readonly [string, ...string[]], ignored: ReadonlySet<number>): void {
  const symbols = libc();
  if (symbols === undefined) return;
  const encoder = new TextEncoder();
  const texts = argv.map((text) => encoder.encode(`${text}\0`));
  const pointers = new BigUint64Array(texts.length + 1);
  texts.forEach((text, index) => {
    pointers[index] = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(text)));
  });
  const held = signalSet(Object.values(HELD_SIGNALS));
  symbols.pthread_sigmask(SIG_BLOCK, held, null);
  whileIgnoring(ignored, () => symbols.execv(texts[0]!, pointers));
  symbols.pthread_sigmask(SIG_UNBLOCK, held, null);
}

/** The held signals as they come, for as long as the process lives. */
export async function* heldSignals(): AsyncGenerator<{ name: HeldSignal; isFromTerminal: boolean }> {
  const symbols = libc();
  const fd = symbols?.signalfd(-1, signalSet(Object.values(HELD_SIGNALS)), SFD_CLOEXEC) ?? -1;
  if (symbols === undefined || fd < 0) return;
  isHolding = true;
  const buffer = new Uint8Array(SIGINFO_BYTES);
  const view = new DataView(buffer.buffer);
  while (Number(await symbols.read(fd, buffer, BigInt(SIGINFO_BYTES))) === SIGINFO_BYTES) {
    const name = names.get(view.getUint32(0, true));
    if (name !== undefined) yield { name, isFromTerminal: view.getInt32(8, true) === SI_KERNEL };
  }
}

/** What `action` returns, done while nothing is held in this thread: a child started in it can be interrupted. */
export function whileReleased<T>(action: () => T): T {
  if (!isHolding) return action();
  releaseHeld();
  try {
    return action();
  } finally {
    libc()?.pthread_sigmask(SIG_BLOCK, signalSet(Object.values(HELD_SIGNALS)), null);
  }
}

/**
 * Dies by the signal of this number, without a core: one that dies of its child's SIGSEGV has nothing to show in its
 * own. Returns where that cannot be done, as for PID 1.
 */
export function dieBy(number: number): void {
  const symbols = libc();
  if (symbols === undefined) return;
  // The runtime has handlers of its own, for SIGSEGV always and for SIGUSR1 after a while.
  symbols.signal(number, SIG_DFL);
  symbols.prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n);
  releaseHeld();
  // To this thread: one to the process may be read from the signalfd first.
  symbols.raise(number);
}

function releaseHeld(): void {
  libc()?.pthread_sigmask(SIG_UNBLOCK, signalSet(Object.values(HELD_SIGNALS)), null);
}
