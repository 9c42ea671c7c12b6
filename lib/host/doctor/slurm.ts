/**
 * Whether Slurm's programs are here, whether this is inside a job, and whether the controller answers
 * (`scontrol ping`, scontrol(1)).
 *
 * @module
 */
import { slurmFacts } from "../slurm.ts";
import { type Check, type Finding, shown } from "./check.ts";
import { findProgram, runProgram } from "./program.ts";

/** The check. */
export function slurmCheck(env: Readonly<Record<string, string>>): Check {
  return { name: "slurm", look: (signal) => lookAtSlurm(env, signal) };
}

async function lookAtSlurm(
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Finding> {
  const job = slurmFacts(env)?.job;
  const where = job === undefined ? "outside a job" : `in job ${shown(job)}`;
  const [scontrol, srun] = await Promise.all(["scontrol", "srun"].map((name) => findProgram(name, env)));
  const absent = [...scontrol ? [] : ["scontrol"], ...srun ? [] : ["srun"]].join(" and ");
  if (scontrol === undefined) {
    return {
      state: job === undefined ? "missing" : "degraded",
      detail: `${where}; not on PATH: ${absent}`,
      cost: "no job steps can be started and no jobs asked about from here",
      mend: job === undefined
        ? "nothing, where there is no Slurm; else install its client programs"
        : "you are in a container of that job: start steps from outside, or mount Slurm's programs and munge",
    };
  }
  const ended = await runProgram({ argv: [scontrol], env: {} }, ["ping"], { env, signal });
  if (ended.kind === "hung") return silent(`${where}; scontrol ping does not answer`);
  if (ended.kind === "unusable") return silent(`${where}; scontrol cannot be started: ${ended.errno}`);
  const words = ended.text.split("\n").map((line) => shown(line.trim())).filter(Boolean);
  if (!/\bis UP\b/.test(ended.text)) {
    return silent(`${where}; no controller answers: ${words.at(-1) ?? "scontrol prints nothing"}`);
  }
  const detail = `${where}; ${words.find((line) => line.includes(" is UP"))}`;
  if (srun !== undefined) return { state: "ok", detail };
  return {
    state: "degraded",
    detail: `${detail}; not on PATH: srun`,
    cost: "no job steps can be started from here",
    mend: "install Slurm's client programs",
  };
}

function silent(detail: string): Finding {
  return {
    state: "degraded",
    detail,
    cost: "no job steps can be started and no jobs asked about until it answers",
    mend: "see that slurmctld and munge run, and slurm.conf is the cluster's: `munge -n | unmunge`",
  };
}
