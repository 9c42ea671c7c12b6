/**
 * The process that asks the GPUs, so that what hangs, hangs here. It asks once for each byte that it reads, answers
 * with a line, and ends when its parent has: its input ends then.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";
import { amdReader } from "./gpu_amd.ts";
import { nvidiaReader } from "./gpu_nvidia.ts";
import { formatReports } from "./gpu_report.ts";
import { GpuSource } from "./gpu_source.ts";
import { findGpus } from "./gpu_presence.ts";
import type { HangWaits } from "./hang_guard.ts";

/** Where to look, and the two ends of the parent's pipes. */
export interface GpuHelperOptions {
  readonly requests: ReadableStream<Uint8Array>;
  /** Writes a line; throws when there is nobody to read it. */
  readonly answer: (line: string) => void;
  readonly log: Log;
  /** For an answer of one vendor's GPUs. */
  readonly deadlineMs: number;
  /** Before something that hung is tried again. */
  readonly waits: HangWaits;
  /** Name or path of nvidia-smi. */
  readonly tool: string;
  readonly dev: string;
  readonly sys: string;
  readonly proc?: string;
}

/** Answers until the input ends. */
export async function runGpuHelper(options: GpuHelperOptions): Promise<void> {
  const { requests, answer, log, deadlineMs, waits, tool, dev, sys, proc = "/proc" } = options;
  yieldToOthers(proc, log);
  const nvidia = nvidiaReader({ tool });
  const limits = { deadlineMs, waits };
  const sources = [
    new GpuSource(
      "nvidia",
      async (signal) => findGpus({ dev, sys }).nvidia > 0 ? await nvidia(signal) : undefined,
      limits,
    ),
    new GpuSource("amd", amdReader({ sys }), limits),
  ];
  // Several bytes at once are one request: the answer to the first would be old when it is read.
  for await (const _ of requests) {
    const reports = await Promise.all(sources.map((source) => source.ask()));
    try {
      answer(formatReports(reports.filter((report) => report !== undefined)));
    } catch (error) {
      if (errnoOf(error) === "EPIPE") return; // the parent is gone
      throw error;
    }
  }
}

/** Out of memory, this one goes first, and nvidia-smi with it: they are of no use to the job. */
function yieldToOthers(proc: string, log: Log): void {
  try {
    Deno.writeTextFileSync(`${proc}/self/oom_score_adj`, "1000");
  } catch (error) {
    log.warn("cannot raise the GPU helper's oom_score_adj", {
      errno: errnoOf(error),
      error: messageOf(error),
    });
  }
}
