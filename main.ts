/**
 * davit's border with the process: arguments, environment, signals, the printed error and the exit status.
 *
 * @module
 */
import { CommanderError } from "commander";
import { createContext } from "./cmd/context.ts";
import { ExitAs } from "./cmd/exit_as.ts";
import { program } from "./cmd/mod.ts";
import { EXIT, Failure } from "./lib/failure.ts";
import { ignoredSignals } from "./lib/host/dispositions.ts";
import { dieBy } from "./lib/host/held_signals.ts";
import { refuseDebugger } from "./lib/host/debugger_signal.ts";
import { adoptLaunch } from "./lib/host/self.ts";

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

async function main(args: string[]): Promise<number> {
  const abort = new AbortController();
  // Those must stay ignored, as SIGHUP under nohup. They need a listener all the same: the first listener of any
  // signal makes Deno 2.9.6 catch HUP, INT and TERM.
  const ignored = ignoredSignals();
  refuseDebugger(ignored);
  let taken: ((name: Deno.Signal) => void) | undefined;
  for (const [name, number] of Object.entries(SIGNALS) as [keyof typeof SIGNALS, number][]) {
    Deno.addSignalListener(name, () => {
      if (taken !== undefined) return taken(name);
      if (ignored.has(number)) return;
      // The second signal means "now": the next run cleans what this one could not.
      if (abort.signal.aborted) Deno.exit(128 + number);
      abort.abort(new Failure(128 + number, `Interrupted by ${name}`, { code: "interrupted" }));
    });
  }
  const json = args.slice(0, args.includes("--") ? args.indexOf("--") : undefined).includes("--json");
  const context = createContext({
    env: Deno.env.toObject(),
    json,
    signal: abort.signal,
    ignoredSignals: ignored,
    takeSignals(names, handler) {
      taken = handler;
      for (const name of names) if (!(name in SIGNALS)) Deno.addSignalListener(name, () => handler(name));
    },
  });
  try {
    await program(context).parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    // Whatever an interrupted call failed with, the signal is the reason.
    const reason = abort.signal.aborted ? abort.signal.reason : error;
    if (reason instanceof ExitAs) {
      // Whoever waits for us is to see no difference. PID 1 cannot die by a signal.
      if (reason.isSignal && Deno.pid !== 1) dieBy(reason.code - 128);
      return reason.code;
    }
    if (reason instanceof CommanderError && reason.exitCode === 0) return 0;
    if (reason instanceof CommanderError && reason.code === "commander.help") return EXIT.USAGE;
    return context.reportError(reason instanceof CommanderError ? usageFailure(reason) : reason);
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

adoptLaunch(Deno.env, Deno.mainModule);
Deno.exit(await main(Deno.args));
