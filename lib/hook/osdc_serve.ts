/**
 * Jobs for the OSDC face, which has ids of its own: they may be anything. Scripts are always run by `sh -e`.
 *
 * @module
 */
import type { Jobs } from "./jobs.ts";
import type { OsdcJob } from "./osdc.ts";
import { osdcJobOf } from "./osdc_job.ts";
import { KILL_TIMES } from "./protocol.ts";

/** The fork tells the end of a script at once, whatever still holds its output. */
const BACKGROUND_GRACE_MS = 500;

/** Starts the jobs of an OSDC face. */
export function osdcStarter(jobs: Jobs): (path: string) => Promise<OsdcJob> {
  let count = 0;
  return (path) => {
    const outcome = jobs.start(`osdc-${++count}`, () => ({
      program: { argv: ["sh", "-e", path] },
      env: {},
      cwd: undefined,
      prependPath: [],
      hasInput: false,
      killTimes: KILL_TIMES,
      backgroundGraceMs: BACKGROUND_GRACE_MS,
    }));
    if (outcome.kind !== "started") return Promise.reject(new Error("A job is already running"));
    const { job } = outcome;
    if (job.spawnFailure !== undefined) return Promise.reject(job.spawnFailure);
    return Promise.resolve(osdcJobOf(job));
  };
}
