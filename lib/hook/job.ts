/**
 * One job from its start to its result. It goes on whether or not somebody follows it; its output waits in the spool.
 *
 * @module
 */
import { EXIT, messageOf } from "../failure.ts";
import { type ChildUsage, usageAtEnd, usageOfChildren } from "../host/child_usage.ts";
import type { Log } from "../host/log.ts";
import { type ChildEnd, endOf } from "../host/process.ts";
import { type Ending, type Reason, type Verdict, verdictOf } from "./cause.ts";
import type { CheckedSpec } from "./job_spec.ts";
import type { OomCounts, OomWatch } from "./oom_watch.ts";
import { JobInput } from "./job_input.ts";
import { FRAME, type JobStatus, type KillSignal, type Result, type Survivor } from "./protocol.ts";
import { type JobUsage, resultOf, usageSince } from "./job_result.ts";
import { Pump } from "./pump.ts";
import type { RpcDir } from "./rpc_dir.ts";
import { SpawnFailure, spawnJob } from "./spawn_job.ts";
import { Spool } from "./spool.ts";
import { type Bystanders, bystanders, ProcessTree } from "./tree.ts";

/** What all jobs of a server have in common. */
export interface JobHost {
  readonly baseEnv: Readonly<Record<string, string>>;
  readonly rpcDir: RpcDir;
  readonly spoolMaxBytes: number;
  readonly spoolPatienceMs: number;
  /** Process ids that Deno waits for. */
  readonly known: Set<number>;
  readonly isSubreaper: boolean;
  readonly oom: OomWatch;
  readonly leaseMs: number;
  readonly around: <T>(spawn: () => T) => T;
  readonly markOf: (id: string) => string;
  readonly log: Log;
  readonly proc?: string;
}

/** How a process that does not end by itself is waited for. */
const STUCK_MS = 10_000;
/** After the leader's end the rest of a tree that is to end gets as long as the runner leaves after SIGTERM. */
const REST_MS = 2_500;
const REST_ROUND_MS = 25;
/** Output of a tree that was ended is complete at once; only what we may not signal still holds it. */
const ENDED_GRACE_MS = 1_000;
const SHOWN_SURVIVORS = 10;
const KEPT_SURVIVORS = 100;
/** A killed program has this status, and so has a shell whose child was killed. */
const KILLED = 137;

/** See the module's description. */
export class Job {
  readonly id: string;
  readonly spool: Spool;
  /** Settles when the job has ended and its last frame can be read. Never rejects. */
  readonly ended: Promise<Result>;
  /** Where its spec asked for one. */
  input: JobInput | undefined;
  /** Why nothing was started, where that is so. */
  spawnFailure: SpawnFailure | undefined;
  readonly #spec: CheckedSpec;
  readonly #host: JobHost;
  readonly #startedMs = Date.now();
  readonly #startMs = performance.now();
  readonly #notices: string[] = [];
  readonly #signals: { readonly name: string; readonly atMs: number }[] = [];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #stuck = Promise.withResolvers<void>();
  #reason: Reason | undefined;
  #isEscalating = false;
  #tree: ProcessTree | undefined;
  #hasLeaderEnded = false;
  #result: Result | undefined;

  constructor(id: string, spec: CheckedSpec, host: JobHost) {
    this.id = id;
    this.#spec = spec;
    this.#host = host;
    this.spool = new Spool({
      maxBytes: host.spoolMaxBytes,
      openFile: () => host.rpcDir.openFile(),
      patienceMs: host.spoolPatienceMs,
      log: host.log,
    });
    this.ended = this.#run().catch((error) => this.#finishBroken(error));
  }

  /** As the protocol tells it. */
  get status(): JobStatus {
    return {
      id: this.id,
      status: this.#result !== undefined ? "ended" : this.#reason === undefined ? "running" : "killing",
      started_ms: this.#startedMs,
      age_ms: Math.round(performance.now() - this.#startMs),
      last_seq: this.spool.lastSeq,
      acked_seq: this.spool.ackedSeq,
      ...this.#result === undefined ? {} : { result: this.#result },
    };
  }

  get hasEnded(): boolean {
    return this.#result !== undefined;
  }

  /** Says something in the step's stderr, each text once. */
  notice(text: string): void {
    if (this.#result !== undefined || this.#notices.includes(text)) return;
    this.#notices.push(text);
    void this.spool.appendText(FRAME.notice, `davit: ${text}`);
  }

  /** Sends one signal to the whole tree, or begins the escalation. */
  kill(signal: KillSignal | undefined, reason: Reason = "killed_by_request"): void {
    if (this.#hasLeaderEnded || this.spawnFailure !== undefined) return;
    this.#reason ??= reason;
    if (signal !== undefined) return this.#send(signal);
    if (this.#isEscalating) return;
    this.#isEscalating = true;
    const { int_ms, term_ms, kill_ms } = this.#spec.killTimes;
    this.#at(int_ms, () => this.#send("INT"));
    this.#at(term_ms, () => this.#send("TERM"));
    this.#at(kill_ms, () => this.#send("KILL"));
  }

  #at(ms: number, action: () => void): void {
    this.#timers.add(setTimeout(action, ms));
  }

  #send(signal: KillSignal): void {
    if (this.#hasLeaderEnded) return;
    this.#signals.push({ name: `SIG${signal}`, atMs: performance.now() });
    if (signal !== "KILL") return void this.#tree?.signal(`SIG${signal}`);
    void this.#tree?.kill();
    this.#at(STUCK_MS, () => this.#stuck.resolve());
  }

  async #run(): Promise<Result> {
    const { oom, known, rpcDir } = this.#host;
    for (const text of rpcDir.takeNotices()) this.notice(text);
    const before = { oom: oom.counts(), usage: usageOfChildren(), bystanders: bystanders(this.#host.proc) };
    let child: Deno.ChildProcess;
    try {
      child = spawnJob({
        spec: this.#spec,
        baseEnv: this.#host.baseEnv,
        mark: this.#host.markOf(this.id),
        around: this.#host.around,
      });
    } catch (error) {
      if (!(error instanceof SpawnFailure)) throw error;
      this.spawnFailure = error;
      return await this.#finishUnstarted(error);
    }
    known.add(child.pid);
    if (this.#spec.hasInput) this.input = new JobInput(child.stdin);
    return await this.#follow(child, before).finally(() => known.delete(child.pid));
  }

  async #follow(child: Deno.ChildProcess, before: Before): Promise<Result> {
    const usage = usageAtEnd(child.pid);
    const { markOf, isSubreaper, proc } = this.#host;
    this.#tree = new ProcessTree({
      pid: child.pid,
      mark: markOf(this.id),
      before: before.bystanders,
      isSubreaper,
      ...proc === undefined ? {} : { proc },
    });
    const pumps = [
      new Pump(child.stdout, FRAME.stdout, this.spool),
      new Pump(child.stderr, FRAME.stderr, this.spool),
    ];
    const { end, isStuck } = await this.#leaderEnd(child);
    const endMs = performance.now();
    this.input?.close();
    if (this.#reason !== undefined) await this.#endRest();
    const survivors = this.#nameSurvivors(await this.#drain(pumps));
    const verdict = verdictOf({
      end,
      ending: this.#ending(endMs),
      oom: end.code === 0
        ? undefined
        : this.#host.oom.since(before.oom, child.pid, { isKilled: end.code === KILLED }),
      isStuck,
    });
    const used = isStuck ? {} : usageSince(before.usage, await usage);
    return await this.#finish({ ...verdict, ...end, ...used, survivors });
  }

  async #leaderEnd(child: Deno.ChildProcess): Promise<{ end: ChildEnd; isStuck: boolean }> {
    const end = await Promise.race([endOf(child), this.#stuck.promise]);
    this.#hasLeaderEnded = true;
    for (const timer of this.#timers) clearTimeout(timer);
    if (end === undefined) return { end: { code: KILLED, signal: "SIGKILL" }, isStuck: true };
    this.#tree!.leaderEnded();
    return { end, isStuck: false };
  }

  /** The step is over by request: nothing of it goes on. */
  async #endRest(): Promise<void> {
    const tree = this.#tree!;
    if (tree.survivors().length === 0) return;
    if (!this.#signals.some(({ name }) => name === "SIGTERM")) tree.signal("SIGTERM");
    const deadlineMs = performance.now() + REST_MS;
    while (performance.now() < deadlineMs && tree.survivors().length > 0) {
      await new Promise((resolve) => setTimeout(resolve, REST_ROUND_MS));
    }
    await tree.kill();
  }

  /** Waits for the end of the output, or for as long as a child in the background may hold it; whether it ended. */
  async #drain(pumps: readonly Pump[]): Promise<boolean> {
    const graceMs = this.#reason === undefined
      ? this.#spec.backgroundGraceMs
      : Math.min(this.#spec.backgroundGraceMs, ENDED_GRACE_MS);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), graceMs));
    const outcome = await Promise.race([Promise.all(pumps.map(({ done }) => done)), late]);
    clearTimeout(timer);
    if (outcome !== "late") return true;
    for (const pump of pumps) pump.detach();
    return false;
  }

  #nameSurvivors(hasOutputEnded: boolean): Survivor[] {
    const survivors = this.#tree!.survivors();
    const names = survivors.slice(0, SHOWN_SURVIVORS).map(({ pid, name }) => `${pid} (${name})`);
    if (survivors.length > names.length) names.push(`${survivors.length - names.length} more`);
    const who = names.length === 0 ? "a process that cannot be seen" : names.join(", ");
    if (!hasOutputEnded) {
      this.notice(`still running after the step, its output from now on is not kept: ${who}`);
    } else if (survivors.length > 0) this.notice(`still running after the step: ${who}`);
    return survivors.slice(0, KEPT_SURVIVORS);
  }

  #ending(endMs: number): Ending | undefined {
    if (this.#reason === undefined) return undefined;
    const signals = this.#signals.filter(({ atMs }) => atMs <= endMs)
      .map(({ name, atMs }) => ({ name, beforeEndMs: endMs - atMs }));
    return { reason: this.#reason, signals, leaseMs: this.#host.leaseMs };
  }

  async #finishUnstarted({ message, code, fault }: SpawnFailure): Promise<Result> {
    this.notice(message);
    const verdict: Verdict = { cause: "spawn_failed", fault, evidence: [message] };
    return await this.#finish({ ...verdict, code, signal: null, survivors: [] });
  }

  /** A mistake of ours must not take the server and the next steps with it. */
  async #finishBroken(error: unknown): Promise<Result> {
    this.#host.log.error("this is a bug in davit", {
      id: this.id,
      why: (error as Error).stack ?? String(error),
    });
    this.#hasLeaderEnded = true;
    await this.#tree?.kill();
    const evidence = [`the hook server failed: ${messageOf(error)}`];
    const verdict: Verdict = { cause: "server_stopped", fault: "infra", evidence };
    return await this.#finish({ ...verdict, code: EXIT.SOFTWARE, signal: null, survivors: [] });
  }

  async #finish(facts: Verdict & ChildEnd & Partial<JobUsage> & { survivors: Survivor[] }): Promise<Result> {
    const { rpcDir, log } = this.#host;
    rpcDir.check();
    for (const text of rpcDir.takeNotices()) this.notice(text);
    const { droppedBytes } = this.spool;
    if (droppedBytes > 0) {
      const why = `nobody took them before ${this.#host.spoolMaxBytes} bytes were kept`;
      this.notice(`${droppedBytes} bytes of output were dropped: ${why} (--spool-max)`);
    }
    const result = resultOf({
      ...facts,
      id: this.id,
      startedMs: this.#startedMs,
      wallMs: performance.now() - this.#startMs,
      spool: this.spool,
      rpcDir: rpcDir.path,
      notices: this.#notices,
    });
    // Before anybody can read that it has ended, and ask for the next one.
    this.#result = result;
    await this.spool.close(JSON.stringify(result));
    log.info("job ended", { id: this.id, code: result.code, cause: result.cause, wall_ms: result.wall_ms });
    return result;
  }
}

/** What is read before a job begins. */
interface Before {
  readonly oom: OomCounts;
  readonly usage: ChildUsage | undefined;
  readonly bystanders: Bystanders;
}
