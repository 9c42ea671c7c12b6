/**
 * `vitals run`: puts sources, loop and outputs together and keeps them going until it is told to stop. Whatever a
 * source or an output does, the loop goes on; what was lost is said in a line.
 *
 * @module
 */
import type { ProgramStart } from "../host/self.ts";
import { Copies, type CopyOptions } from "./copies.ts";
import { Emitter, type StdoutFormat } from "./emitter.ts";
import { GpuWatch } from "./gpu.ts";
import { type Interval, readInterval } from "./interval.ts";
import { KmsgWatch } from "./kmsg_watch.ts";
import type { LineFields } from "./line.ts";
import { Loop, type LoopClock, realClock, type Tick } from "./loop.ts";
import { type OutputOptions, Outputs } from "./outputs.ts";
import { Sampler } from "./sample.ts";
import type { SamplerMessage } from "./sampler_child.ts";
import { startFields } from "./start_facts.ts";
import { ProcessWatch } from "./while_process.ts";

/** What to watch, how, and where to say it. */
export interface VitalsOptions extends Omit<OutputOptions, "marksLost">, CopyOptions {
  /** As somebody wrote it; see {@linkcode readInterval}. */
  readonly interval: string | undefined;
  readonly tag: string;
  readonly format: StdoutFormat;
  readonly whileProcess?: string | undefined;
  readonly cgroup?: string | undefined;
  readonly workdir?: string | undefined;
  /** How to start davit again, for the GPU helper. */
  readonly self: ProgramStart;
  /** Aborted when it is to stop; the reason's exitStatus is 128 and the signal's number. */
  readonly signal: AbortSignal;
  readonly beside?: Beside | undefined;
  readonly clock?: LoopClock;
  readonly proc?: string;
  readonly sys?: string;
  readonly dev?: string;
  readonly kmsg?: string;
}

/** The command beside which the probe runs. */
export interface Beside {
  /** What its parent tells. The probe ends when the parent has said that the command did, or is gone. */
  readonly messages: AsyncIterable<SamplerMessage>;
  /** `/proc/uptime` when the command was started, in seconds: what the kernel says since then is not old. */
  readonly sinceUptime: number;
}

/** How long the last lines may take. */
const CLOSE_MS = 1_000;
const CATCH_UP_MS = 1_000;
/** A probe beside a command is to be killed before it: the command is what the machine is for. */
const BESIDE_OOM_SCORE_ADJ = 900;
/** Stamps of the kernel log and /proc/uptime differ by some milliseconds, and uptime has hundredths of a second. */
const STAMP_SLACK_US = 50_000;

/** Samples until told to stop; the last line is then out, as far as anybody takes it. */
export async function runVitals(options: VitalsOptions): Promise<void> {
  const { tag, format } = options;
  const emitter = new Emitter({ tag, format, startMs: performance.now() });
  const onEvent = (event: string, fields: LineFields) => emitter.event(event, fields);
  const outputs = await Outputs.open({ ...options, marksLost: format === "logfmt" }, onEvent);
  const probe = new Probe(options, emitter, outputs);
  try {
    await probe.run();
  } finally {
    await probe.close();
  }
}

class Probe {
  readonly #options: VitalsOptions;
  readonly #outputs: Outputs;
  readonly #emitter: Emitter;
  readonly #interval: Interval;
  readonly #sampler: Sampler;
  readonly #kmsg: KmsgWatch;
  readonly #gpus: GpuWatch;
  readonly #watch: ProcessWatch | undefined;
  readonly #copies: Copies;
  readonly #loop: Loop;
  readonly #stop = new AbortController();
  #end: LineFields = { reason: "stopped" };
  #kills: number | undefined;

  constructor(options: VitalsOptions, emitter: Emitter, outputs: Outputs) {
    const { proc = "/proc", sys = "/sys", cgroup, workdir, whileProcess, kmsg } = options;
    this.#options = options;
    this.#emitter = emitter;
    this.#outputs = outputs;
    this.#interval = readInterval(options.interval);
    this.#sampler = new Sampler({
      proc,
      sys,
      cgroup,
      workdir,
      onSourceChange: ({ source, state, errno }) => emitter.event(`source_${state}`, { source, errno }),
    });
    const { path, isNamespaced } = this.#sampler.cgroup;
    this.#kmsg = new KmsgWatch({
      emit: (event, fields) => this.#onKernel(event, fields),
      ...path !== undefined && !isNamespaced && { cgroup: path },
      ...kmsg !== undefined && { path: kmsg },
      ...options.beside && { sinceUs: options.beside.sinceUptime * 1e6 - STAMP_SLACK_US },
    });
    this.#gpus = new GpuWatch({
      self: options.self,
      sys,
      ...options.dev !== undefined && { dev: options.dev },
      intervalMs: this.#interval.effectiveMs,
      onLine: (fields) => emitter.gpu(fields),
      onEvent: (event, fields) => emitter.event(event, fields),
    });
    this.#watch = whileProcess === undefined ? undefined : new ProcessWatch(whileProcess, { proc });
    emitter.isQuiet = this.#watch !== undefined;
    this.#copies = new Copies(options, { log: outputs.log, onEvent: (...event) => emitter.event(...event) });
    this.#loop = new Loop(this.#interval.effectiveMs, {
      onTick: (tick) => this.#onTick(tick),
      onClockStep: (deltaMs) => emitter.event("clock_step", { delta_ms: deltaMs }),
      onResume: (gapMs, wasSuspended) =>
        emitter.event("resume", { gap_ms: gapMs, suspended: wasSuspended || undefined }),
    }, options.clock ?? realClock({ proc }));
  }

  async run(): Promise<void> {
    const { signal, beside } = this.#options;
    const onAbort = () => {
      const status = (signal.reason as { exitStatus?: number } | undefined)?.exitStatus ?? 0;
      this.#end = { reason: "signal", sig: status > 128 ? status - 128 : undefined };
      this.#stop.abort();
    };
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    if (beside !== undefined) {
      this.#yieldToCommand();
      void this.#listen(beside.messages);
    }
    if (this.#watch === undefined) this.#start();
    this.#kmsg.start();
    await this.#loop.run(this.#stop.signal);
    signal.removeEventListener("abort", onAbort);
  }

  /** The final sample, the end line, and whatever time the outputs still get. */
  async close(): Promise<void> {
    // A command may end before the kernel log is read: that is where its reason stands.
    if (this.#options.beside !== undefined) await within(CATCH_UP_MS, this.#kmsg.caughtUp);
    await Promise.all([this.#kmsg.close(), this.#gpus.close()]);
    if (this.#emitter.hasStarted && !this.#emitter.isQuiet) {
      this.#sample(Date.now(), performance.now(), 0);
      const end = { ...this.#end, samples: this.#emitter.samples, lost: this.#outputs.lost };
      this.#emitter.end({ ...this.#end, ...await this.#judge(end), samples: end.samples, lost: end.lost });
    }
    await Promise.all([this.#outputs.close(CLOSE_MS), this.#copies.close(CLOSE_MS)]);
    this.#sampler[Symbol.dispose]();
  }

  #start(): void {
    const { env, beside, proc } = this.#options;
    const { change, effectiveMs } = this.#interval;
    if (change !== undefined) {
      this.#emitter.event("config", { raw: change.raw, effective_ms: effectiveMs, reason: change.reason });
    }
    this.#emitter.start(
      this.#outputs,
      startFields({
        env,
        sampler: this.#sampler,
        intervalMs: effectiveMs,
        mode: beside === undefined ? "alone" : "command",
        kmsg: this.#kmsg.state,
        gpus: this.#gpus.count,
        ...proc !== undefined && { proc },
      }),
    );
    this.#gpus.start();
  }

  #onTick({ wallMs, monoMs, lateMs, droppedWakes }: Tick): void {
    if (this.#watch !== undefined && !this.#isAwake(this.#watch)) return;
    if (droppedWakes > 0) this.#emitter.event("wakes_dropped", { count: droppedWakes });
    this.#sample(wallMs, monoMs, lateMs);
  }

  #isAwake(watch: ProcessWatch): boolean {
    let isRunning = true; // a probe that cannot look had better talk
    try {
      isRunning = watch.isRunning();
    } catch (error) {
      this.#outputs.log.warn("cannot read the process table", { error: String(error) });
    }
    if (isRunning === !this.#emitter.isQuiet) return isRunning;
    const fields = { process: this.#options.whileProcess };
    if (!isRunning) this.#emitter.event("quiet", fields);
    this.#emitter.isQuiet = !isRunning;
    if (isRunning && !this.#emitter.hasStarted) this.#start();
    if (isRunning) this.#emitter.event("awake", fields);
    return isRunning;
  }

  #sample(wallMs: number, nowMs: number, lateMs: number): void {
    const sample = this.#sampler.read(nowMs);
    sample.set("late_ms", lateMs);
    this.#countKills(sample.get("oom_kill"));
    this.#emitter.sample(sample, wallMs, nowMs);
    this.#copies.put(sample, wallMs);
  }

  /** Where the kernel log cannot be read, the counters are all there is. */
  #countKills(kills: number | "max" | undefined): void {
    if (typeof kills !== "number") return;
    const before = this.#kills;
    this.#kills = kills;
    if (this.#kmsg.state === "ok" || before === undefined || kills <= before) return;
    this.#emitter.event("oom_counter", { delta: kills - before });
  }

  #onKernel(event: string, fields: LineFields): void {
    this.#emitter.event(event, fields);
    if (event === "oom" && fields.old !== true) this.#loop.wake();
  }

  async #listen(messages: AsyncIterable<SamplerMessage>): Promise<void> {
    try {
      for await (const message of messages) {
        if (message.kind === "signal") this.#emitter.event("signal", { name: message.name });
        else if (message.kind === "restarted") this.#onRestarted(message);
        else this.#end = { reason: "exit", code: message.code, cmd_signal: message.signal ?? undefined };
      }
    } catch (error) {
      this.#outputs.log.warn("cannot hear what the command does", { error: String(error) });
    }
    this.#stop.abort(); // the command has ended, or its parent is gone
  }

  /** What rose while nobody looked counts. */
  #onRestarted({ killed, counters }: Extract<SamplerMessage, { kind: "restarted" }>): void {
    this.#emitter.event("restarted", { probes_killed: killed, ...counters });
    this.#kills = counters.oom_kill;
  }

  /** Why a command failed; nothing for one that did not, or for a probe that knows of none. */
  async #judge(end: LineFields): Promise<LineFields> {
    if (typeof end.code !== "number" || end.code === 0) return {};
    try {
      const { verdictOfLines } = await import("./verdict.ts");
      const { tag } = this.#options;
      const { class: verdict, confidence } = verdictOfLines(this.#emitter.linesWithEnd(end), {
        tag,
        jobExit: end.code,
      });
      return { verdict, confidence };
    } catch (error) {
      this.#outputs.log.warn("cannot judge", { error: String(error) });
      return {};
    }
  }

  #yieldToCommand(): void {
    const path = `${this.#options.proc ?? "/proc"}/self/oom_score_adj`;
    try {
      if (Number(Deno.readTextFileSync(path)) < BESIDE_OOM_SCORE_ADJ) {
        Deno.writeTextFileSync(path, String(BESIDE_OOM_SCORE_ADJ));
      }
    } catch (error) {
      this.#outputs.log.warn("cannot raise oom_score_adj", { error: String(error) });
    }
  }
}

async function within(ms: number, promise: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([promise, new Promise<void>((resolve) => timer = setTimeout(resolve, ms))]);
  clearTimeout(timer);
}
