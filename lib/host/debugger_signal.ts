/**
 * Takes SIGUSR1 back from the runtime. Since 2.9.2 Deno opens its debugger on 127.0.0.1:9229, to whoever connects,
 * when it gets that signal, whether there is a listener or not: a job that may signal davit could make it run code.
 * Deno begins to listen half a second after its start and has no switch for it (cli/worker.rs).
 *
 * @module
 */
import { libc } from "./libc.ts";

const SIGUSR1 = 10;
const SIG_DFL = 0n;
const SIG_IGN = 1n;
/** When to look first, how often, and until when; measured: the handler is there after 500 to 520 ms. */
const FIRST_MS = 490;
const EVERY_MS = 5;
const LAST_MS = 30_000;

/**
 * From now on, as soon as Deno has taken the signal, it does again what it does to any program: it ends davit, or
 * nothing where it was ignored at the start. A process that is over by then pays nothing. Where libc cannot be
 * opened the debugger stays.
 */
export function refuseDebugger(
  ignored: ReadonlySet<number>,
  { proc = "/proc" }: { proc?: string } = {},
): void {
  function look(): void {
    if (performance.now() > LAST_MS) return;
    if (isCaught(proc)) libc()?.signal(SIGUSR1, ignored.has(SIGUSR1) ? SIG_IGN : SIG_DFL);
    else Deno.unrefTimer(setTimeout(look, EVERY_MS));
  }
  Deno.unrefTimer(setTimeout(look, Math.max(FIRST_MS - performance.now(), 0)));
}

/** proc_pid_status(5): bit n-1 of SigCgt is set when signal n has a handler. */
function isCaught(proc: string): boolean {
  try {
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(Deno.readTextFileSync(`${proc}/self/status`))?.[1] ?? "0";
    return (BigInt(`0x${mask}`) >> BigInt(SIGUSR1 - 1) & 1n) === 1n;
  } catch {
    return false; // no /proc: Deno itself would not run
  }
}
