/**
 * GPUs beside the samples: a helper process is asked at its own pace, so that no sample ever waits for one. A GPU that
 * is lost, a tool that hangs and a helper that dies are events; each known GPU keeps its line and its age.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import type { ProgramStart } from "../host/self.ts";
import { GpuChild } from "./gpu_child.ts";
import { findGpus } from "./gpu_presence.ts";
import type { GpuReport, GpuVendor } from "./gpu_report.ts";
import { GpuRoster, type GpuTeller } from "./gpu_roster.ts";
import { HANG_WAITS, HangGuard, type HangWaits } from "./hang_guard.ts";

/** Whom to tell, how often to ask, and where to look. */
export interface GpuWatchOptions extends GpuTeller {
  /** How to start davit again. */
  readonly self: ProgramStart;
  /** Of the samples; GPUs are asked every 10 s at most. */
  readonly intervalMs: number;
  /** For an answer of the GPUs; the helper itself gets twice that. */
  readonly deadlineMs?: number;
  readonly tool?: string;
  readonly dev?: string;
  readonly sys?: string;
  /** Between two questions; tests are in a hurry. */
  readonly paceMs?: number;
  /** Before what hung is tried again. */
  readonly waits?: HangWaits;
}

const PACE_MS = 10_000;
const DEADLINE_MS = 5_000;
/** A driver may be loaded after us. */
const LOOK_AGAIN_MS = 60_000;
const END_GRACE_MS = 200;

/** The watch. Nothing happens before {@linkcode GpuWatch.start}. */
export class GpuWatch {
  readonly #options:
    & Required<Pick<GpuWatchOptions, "deadlineMs" | "tool" | "dev" | "sys" | "waits">>
    & GpuWatchOptions;
  readonly #paceMs: number;
  readonly #guard: HangGuard;
  readonly #roster: GpuRoster;
  #child: GpuChild | undefined;
  /** The last one that was given up. */
  #former: GpuChild | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #round: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: GpuWatchOptions) {
    this.#options = {
      deadlineMs: DEADLINE_MS,
      tool: "nvidia-smi",
      dev: "/dev",
      sys: "/sys",
      waits: HANG_WAITS,
      ...options,
    };
    this.#paceMs = options.paceMs ?? Math.max(options.intervalMs, PACE_MS);
    this.#guard = new HangGuard(this.#options.waits);
    this.#roster = new GpuRoster(options);
  }

  /** GPUs that the machine shows, for the start line. */
  get count(): number {
    const { nvidia, amd } = findGpus(this.#options);
    return nvidia + amd;
  }

  /** Begins to ask, now and from then on. */
  start(): void {
    if (this.#round !== undefined || this.#isClosed) return;
    this.#next(0);
  }

  /** Ends the helper; what does not end within a moment is left to itself. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    this.#child = undefined;
    await child?.end(END_GRACE_MS);
  }

  #next(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      const startedMs = performance.now();
      this.#round = this.#ask().then((isWatching) => {
        const wantedMs = isWatching ? this.#paceMs : Math.max(LOOK_AGAIN_MS, this.#paceMs);
        this.#next(Math.max(wantedMs / 4, wantedMs - (performance.now() - startedMs)));
      });
    }, delayMs);
  }

  /** One question; false when there is nothing to ask about. Never rejects. */
  async #ask(): Promise<boolean> {
    const { deadlineMs } = this.#options;
    const vendors = this.#vendors();
    if (vendors.length === 0 && !this.#roster.knowsAny) return false;
    const child = this.#child ?? this.#startChild(vendors);
    if (child === undefined) {
      this.#roster.tick();
      return true;
    }
    const answer = await child.ask(2 * deadlineMs);
    if (this.#isClosed) return true;
    if (answer.kind === "reports") {
      this.#guard.answered();
      this.#roster.take(answer.reports, vendors);
      return true;
    }
    this.#child = undefined;
    this.#former = child;
    child.kill();
    // Not at once again: what ended it may be there still.
    this.#guard.hung(child.gone, performance.now());
    const state = answer.kind === "late" ? "hung" : "error";
    const detail = answer.kind === "late"
      ? `the helper did not answer within ${2 * deadlineMs} ms`
      : `the helper: ${answer.detail}`;
    this.#roster.take(vendors.map((vendor): GpuReport => ({ vendor, state, detail, gpus: [] })), vendors);
    return true;
  }

  #vendors(): GpuVendor[] {
    const counts = findGpus(this.#options);
    const vendors = (["nvidia", "amd"] as const).filter((vendor) => counts[vendor] > 0);
    return [...new Set([...vendors, ...this.#roster.vendors])];
  }

  #startChild(vendors: readonly GpuVendor[]): GpuChild | undefined {
    if (!this.#guard.mayTry(performance.now()) || this.#former?.isLeft) return undefined;
    const { self, deadlineMs, waits, tool, dev, sys } = this.#options;
    const places = ["--tool", tool, "--dev", dev, "--sys", sys];
    const times = { deadline: deadlineMs, retry: waits.firstMs, "retry-cap": waits.capMs };
    const args = [...places, ...Object.entries(times).flatMap(([flag, ms]) => [`--${flag}`, `${ms}ms`])];
    try {
      this.#child = new GpuChild(self, ["vitals", "gpu-helper", ...args]);
    } catch (error) {
      this.#guard.hung(Promise.resolve(), performance.now());
      const detail = `the helper does not start: ${messageOf(error)}`;
      this.#roster.take(
        vendors.map((vendor): GpuReport => ({ vendor, state: "error", detail, gpus: [] })),
        vendors,
      );
    }
    return this.#child;
  }
}
