/**
 * `vitals run -- CMD`: gives the entrypoint what it needs of the process.
 *
 * @module
 */
import { errnoOf } from "../lib/host/errno.ts";
import { probeStart } from "../lib/host/self.ts";
import {
  executeHolding,
  hasTerminal,
  HELD_SIGNALS,
  type HeldSignal,
  heldSignals,
  TERMINAL_SIGNALS,
} from "../lib/host/held_signals.ts";
import type { ChildEnd } from "../lib/host/process.ts";
import { readKillCounters } from "../lib/vitals/kill_counters.ts";
import { runEntrypoint, type SignalEvent } from "../lib/vitals/entrypoint.ts";
import { formatLogLine, type LogStyle } from "../lib/vitals/log_line.ts";
import { SamplerChild } from "../lib/vitals/sampler_child.ts";
import type { Context } from "./context.ts";

/** What was asked for. */
export interface EntrypointCommand {
  readonly argv: readonly [string, ...string[]];
  /** The flags, for the probe beside the command. */
  readonly flags: readonly string[];
  /** The cgroup to watch, if not the own one. */
  readonly cgroup: string | undefined;
  /** This process was started again to have the signals held. */
  readonly areHeld: boolean;
  readonly logStyle: LogStyle;
}

/** Runs the command with a probe beside it. */
export async function runEntrypointCommand(context: Context, command: EntrypointCommand): Promise<ChildEnd> {
  const { argv, flags, cgroup, areHeld, logStyle } = command;
  const { argv: self, env } = probeStart();
  const isOnTerminal = hasTerminal();
  if (!areHeld) {
    // Returns only where it cannot be done. Then listeners must do, and what a terminal may have sent is left to it.
    executeHolding(
      [...self, "vitals", "run", ...flags, "--signals-held", "--", ...argv],
      context.ignoredSignals,
    );
  }
  const counters = readKillCounters({ cgroup });
  return await runEntrypoint({
    argv,
    ignored: context.ignoredSignals,
    listen(handler) {
      const names: Deno.Signal[] = [...Object.keys(HELD_SIGNALS) as HeldSignal[], "SIGCHLD"];
      context.takeSignals(names, (name) => {
        handler({ name, isFromTerminal: isOnTerminal && TERMINAL_SIGNALS.includes(name) });
      });
      if (areHeld) void forwardHeld(handler);
    },
    accompany(known, sinceUptime, onBrokenPipe) {
      const argv = [...self, "vitals", "run", ...flags, `--beside=${sinceUptime}`] as const;
      return new SamplerChild({ argv, env }, {
        known,
        onBrokenPipe,
        counters,
        onTrouble(what) {
          const line = formatLogLine(logStyle, "warn", `no vitals for now: the probe is gone, ${what}`);
          if (line !== undefined) void say(line, onBrokenPipe);
        },
      });
    },
  });
}

async function forwardHeld(handler: (event: SignalEvent) => void): Promise<void> {
  for await (const event of heldSignals()) handler(event);
}

/** A reader of stderr that stalls must not keep signals from the command, and one that is gone raises SIGPIPE. */
async function say(line: string, onBrokenPipe: () => void): Promise<void> {
  try {
    await Deno.stderr.write(new TextEncoder().encode(line));
  } catch (error) {
    if (errnoOf(error) === "EPIPE") onBrokenPipe();
  }
}
