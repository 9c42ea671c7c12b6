/**
 * Who goes first when memory is short: the job, not the server that has to tell what became of it. Raising one's own
 * score is always allowed and a child inherits it; lowering it wants CAP_SYS_RESOURCE. proc_pid_oom_score_adj(5).
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";

/** What GitHub's runner gives its own steps. */
const JOB_SCORE = 500;
const ABOVE_OURS = 100;
const HIGHEST = 1000;
const LOWEST = -1000;

/** The score of this process, and how its children get another one. */
export class OomScore {
  readonly #file: Deno.FsFile | undefined;
  readonly #own: number;
  readonly #job: number;

  /** Opened once: without PR_SET_DUMPABLE the file is root's. `jobScore`: instead of one well above ours. */
  constructor({ log, proc = "/proc", jobScore }: { log: Log; proc?: string; jobScore?: number | undefined }) {
    const path = `${proc}/self/oom_score_adj`;
    try {
      this.#file = Deno.openSync(path, { read: true, write: true });
      const before = read(this.#file);
      const isLowered = write(this.#file, LOWEST);
      this.#own = read(this.#file);
      this.#job = jobScore ?? Math.min(HIGHEST, Math.max(JOB_SCORE, this.#own + ABOVE_OURS));
      log.info(
        isLowered ? "oom_score_adj was lowered" : "oom_score_adj cannot be lowered here, jobs have more",
        {
          own: this.#own,
          before: isLowered ? before : undefined,
          job: this.#job,
        },
      );
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#own = this.#job = 0;
      log.warn("oom_score_adj cannot be set: when memory is short the server may go before its job", {
        errno: errnoOf(error),
      });
    }
  }

  /** What `spawn` returns; what it starts has the job's score from its first instruction on. */
  around<T>(spawn: () => T): T {
    if (this.#file === undefined || this.#job === this.#own) return spawn();
    const isRaised = write(this.#file, this.#job);
    try {
      return spawn();
    } finally {
      if (isRaised) write(this.#file, this.#own);
    }
  }
}

function read(file: Deno.FsFile): number {
  const bytes = new Uint8Array(16);
  file.seekSync(0, Deno.SeekMode.Start);
  return Number(new TextDecoder().decode(bytes.subarray(0, file.readSync(bytes) ?? 0)));
}

/** False where that is not allowed. */
function write(file: Deno.FsFile, score: number): boolean {
  try {
    file.seekSync(0, Deno.SeekMode.Start);
    file.writeSync(new TextEncoder().encode(String(score)));
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}
