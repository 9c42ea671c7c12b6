/**
 * The jobs of one server: one runs at a time, an id runs once, and the last ones can be asked for.
 *
 * @module
 */
import type { Reason } from "./cause.ts";
import { Job, type JobHost } from "./job.ts";
import type { CheckedSpec } from "./job_spec.ts";
import type { Metrics } from "./metrics.ts";
import type { KillSignal } from "./protocol.ts";

/** What became of a request for a job. */
export type StartOutcome =
  | { readonly kind: "started" | "known"; readonly job: Job }
  | { readonly kind: "busy"; readonly running: Job }
  | { readonly kind: "forgotten" | "stopping" };

const RECENT = 32;
/** Output that no client took is kept for so many jobs that have ended. */
const KEPT_OUTPUTS = 2;
/** An id is 128 bytes at most. */
const IDS_LIMIT = 100_000;

/** See the module's description. */
export class Jobs {
  readonly #host: JobHost;
  readonly #metrics: Metrics;
  /** The last ones, oldest first. */
  readonly #recent = new Map<string, Job>();
  readonly #ids = new Set<string>();
  #running: Job | undefined;
  #isStopping = false;

  constructor(host: JobHost, metrics: Metrics) {
    this.#host = host;
    this.#metrics = metrics;
  }

  get running(): Job | undefined {
    return this.#running?.hasEnded ? undefined : this.#running;
  }

  get recent(): readonly Job[] {
    return [...this.#recent.values()];
  }

  get spoolBytes(): number {
    return this.recent.reduce((sum, { spool }) => sum + spool.bytes, 0);
  }

  find(id: string): Job | undefined {
    return this.#recent.get(id);
  }

  /** Whether the id ran here, also long ago. */
  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** Starts a job, unless the id ran already. `readSpec` is called only then; it may throw. */
  start(id: string, readSpec: () => CheckedSpec): StartOutcome {
    const known = this.#recent.get(id);
    if (known !== undefined) return { kind: "known", job: known };
    if (this.#ids.has(id)) return { kind: "forgotten" };
    if (this.#isStopping) return { kind: "stopping" };
    const spec = readSpec();
    if (this.running !== undefined) return { kind: "busy", running: this.running };
    const job = new Job(id, spec, this.#host);
    this.#running = job;
    this.#remember(job);
    this.#metrics.add("jobs_started_total");
    void job.ended.then((result) => this.#metrics.ended(result));
    return { kind: "started", job };
  }

  /** Ends the job that runs, whatever waits for it. */
  end(reason: Reason, signal?: KillSignal): void {
    this.running?.kill(signal, reason);
  }

  /** Nothing is started from now on. */
  stop(): void {
    this.#isStopping = true;
  }

  #remember(job: Job): void {
    this.#ids.add(job.id);
    if (this.#ids.size > IDS_LIMIT) this.#ids.delete(this.#ids.values().next().value!);
    this.#recent.set(job.id, job);
    const ended = this.recent.filter(({ hasEnded }) => hasEnded);
    for (const { spool } of ended.slice(0, -KEPT_OUTPUTS)) spool.release();
    for (const { id } of this.recent.slice(0, -RECENT)) this.#recent.delete(id);
  }
}
