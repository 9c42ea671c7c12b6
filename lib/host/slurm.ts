/**
 * What Slurm tells a job step about itself (srun(1), "output environment variables").
 *
 * @module
 */
import { Failure } from "../failure.ts";

/** The Slurm job around this process. */
export interface SlurmFacts {
  readonly job: string;
  readonly slurmStep: string | undefined;
  /** When Slurm ends the job, milliseconds since the epoch. */
  readonly endsAtMs: number | undefined;
}

/** Reads the variables; undefined outside a job. */
export function slurmFacts(env: Readonly<Record<string, string>>): SlurmFacts | undefined {
  const job = env.SLURM_JOB_ID;
  if (!job) return undefined;
  const end = Number(env.SLURM_JOB_END_TIME);
  return { job, slurmStep: env.SLURM_STEP_ID, endsAtMs: end > 0 ? end * 1000 : undefined };
}

/** Time to tidy up before Slurm's own SIGTERM and SIGKILL. */
const MARGIN_MS = 30_000;
const TIMER_LIMIT_MS = 2 ** 31 - 1;

/** A signal that aborts with `parent`, or shortly before Slurm ends the job. */
export function deadlineSignal(
  slurm: SlurmFacts | undefined,
  parent: AbortSignal,
): Disposable & { readonly signal: AbortSignal } {
  if (slurm?.endsAtMs === undefined) return { signal: parent, [Symbol.dispose]() {} };
  const deadline = new AbortController();
  const leftMs = slurm.endsAtMs - MARGIN_MS - Date.now();
  const reach = () =>
    deadline.abort(
      new Failure("TEMPFAIL", `Stopped before Slurm ends job ${slurm.job}: its time limit is near`, {
        code: "deadline",
        hint: "give the job more time, or import before the allocation",
      }),
    );
  // setTimeout fires at once beyond 2^31 ms; a job of more than 24 days needs no timer.
  const timer = leftMs <= 0 ? reach() : leftMs < TIMER_LIMIT_MS ? setTimeout(reach, leftMs) : undefined;
  return {
    signal: AbortSignal.any([parent, deadline.signal]),
    [Symbol.dispose]: () => clearTimeout(timer ?? undefined),
  };
}
