/**
 * One step with all that belongs to it: the job, the annotation of its failure, the file with its result.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { HookClient } from "./client.ts";
import { execJob, type ExecOptions } from "./exec.ts";
import { annotation, resultOfFailure, verdictOf, verdictOfFailure } from "./fault.ts";
import type { Result } from "./protocol.ts";
import { checkResultFile, writeResultFile } from "./result_file.ts";

/** What to run and what to leave behind. */
export interface StepOptions extends Omit<ExecOptions, "client"> {
  readonly connect: () => Promise<HookClient>;
  /** Absolute. */
  readonly resultPath: string | undefined;
  /** Print a failure as GitHub's workflow command. */
  readonly annotates: boolean;
}

/** Runs the step and returns its exit code. Throws the Failure where there is none. */
export async function runStep(options: StepOptions): Promise<number> {
  const { resultPath, annotates, sink, log, id } = options;
  if (resultPath !== undefined) await checkResultFile(resultPath);
  const end = await endOfStep(options);
  const isLost = end instanceof Failure;
  const verdict = isLost ? verdictOfFailure(end) : verdictOf(end);
  if (annotates && verdict !== undefined) await sink.notice(annotation(verdict)).catch(ignoreOutput);
  await sink.finish().catch(ignoreOutput);
  if (resultPath !== undefined) {
    try {
      await writeResultFile(resultPath, isLost ? resultOfFailure(end, id) : end, log);
    } catch (error) {
      // What went wrong first is what the exit status tells; without it, who relies on the file must not go on.
      if (!(error instanceof Failure) || verdict === undefined) throw error;
      log.error(error.message);
    }
  }
  if (isLost) throw end;
  return end.code;
}

async function endOfStep(options: StepOptions): Promise<Result | Failure> {
  try {
    using client = await options.connect();
    return await execJob({ ...options, client });
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}

/** The step's own output ended with the same fault, and that is what is thrown. */
function ignoreOutput(error: unknown): void {
  if (!(error instanceof Failure)) throw error;
}
