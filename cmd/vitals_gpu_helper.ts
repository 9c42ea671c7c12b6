/**
 * `vitals gpu-helper`: what `vitals run` starts to ask the GPUs; not for people, and not in the help.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { Failure, messageOf } from "../lib/failure.ts";
import { parseDuration } from "../lib/units.ts";
import type { Context } from "./context.ts";

/** Builds the command. */
export function vitalsGpuHelper(context: Context): CommandUnknownOpts {
  return new Command("gpu-helper")
    .description("Ask the GPUs once for each byte of standard input")
    .option("--tool <program>", "nvidia-smi", "nvidia-smi")
    .option("--dev <dir>", "where device nodes are", "/dev")
    .option("--sys <dir>", "where sysfs is", "/sys")
    .addOption(duration("--deadline <duration>", "for an answer", 5_000, "5s"))
    .addOption(duration("--retry <duration>", "wait this long after a hang, doubling", 30_000, "30s"))
    .addOption(duration("--retry-cap <duration>", "longest such wait", 300_000, "5m"))
    .action(async ({ tool, dev, sys, deadline, retry, retryCap }) => {
      const { runGpuHelper } = await import("../lib/vitals/gpu_helper.ts");
      await runGpuHelper({
        requests: Deno.stdin.readable,
        answer: (line) => void Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`)),
        log: context.log,
        deadlineMs: deadline,
        waits: { firstMs: retry, capMs: retryCap },
        tool,
        dev,
        sys,
      });
    });
}

function duration<Flags extends string>(flags: Flags, about: string, fallbackMs: number, shown: string) {
  return new Option(flags, about).argParser((text: string) => {
    try {
      return parseDuration(text);
    } catch (error) {
      throw new Failure("USAGE", `Cannot use ${flags.split(" ")[0]} "${text}": ${messageOf(error)}`, {
        code: "usage",
      });
    }
  }).default(fallbackMs, shown);
}
