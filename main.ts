/**
 * davit's border with the process: arguments, environment, signals, the printed error and the exit status.
 *
 * @module
 */
import { CommanderError } from "commander";
import { createContext } from "./cmd/context.ts";
import { program } from "./cmd/mod.ts";
import { EXIT, Failure } from "./lib/failure.ts";

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

async function main(args: string[]): Promise<number> {
  const abort = new AbortController();
  const ignored = ignoredSignals();
  for (const [name, number] of Object.entries(SIGNALS) as [keyof typeof SIGNALS, number][]) {
    Deno.addSignalListener(name, () => {
      if (ignored.has(number)) return;
      // The second signal means "now": the next run cleans what this one could not.
      if (abort.signal.aborted) Deno.exit(128 + number);
      abort.abort(new Failure(128 + number, `Interrupted by ${name}`, { code: "interrupted" }));
    });
  }
  const json = args.slice(0, args.includes("--") ? args.indexOf("--") : undefined).includes("--json");
  const context = createContext({ env: Deno.env.toObject(), json, signal: abort.signal });
  try {
    await program(context).parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    // Whatever an interrupted call failed with, the signal is the reason.
    const reason = abort.signal.aborted ? abort.signal.reason : error;
    if (reason instanceof CommanderError && reason.exitCode === 0) return 0;
    if (reason instanceof CommanderError && reason.code === "commander.help") return EXIT.USAGE;
    return context.reportError(reason instanceof CommanderError ? usageFailure(reason) : reason);
  }
}

/**
 * Signals that were ignored at the start, as SIGHUP is under nohup, must stay so. They need a listener all the
 * same: the first listener of any signal makes Deno 2.9.6 catch HUP, INT and TERM. SigIgn has bit n-1 for n.
 */
function ignoredSignals(): Set<number> {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(Deno.readTextFileSync("/proc/self/status"))?.[1] ?? "0";
    return new Set(
      Object.values(SIGNALS).filter((number) => (BigInt(`0x${mask}`) >> BigInt(number - 1)) & 1n),
    );
  } catch {
    return new Set(); // no /proc: nothing can be known, and acting on a signal is the safer way
  }
}

function usageFailure(error: CommanderError): Failure {
  const [message = "", ...rest] = error.message.replace(/^error: /, "").split("\n");
  const hint = rest.join(" ").trim().replace(/^\(|\)$/g, "");
  return new Failure("USAGE", message, {
    code: "usage",
    hint: hint === "" ? "`--help` shows the commands and flags" : hint,
  });
}

Deno.exit(await main(Deno.args));
