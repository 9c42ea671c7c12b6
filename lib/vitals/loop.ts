/**
 * When to sample. Four guards keep the loop from spinning and from stopping, whatever the clock and the wait do:
 * an absolute deadline that skips what was missed, a floor under the distance of two samples, a ceiling over each
 * wait, and a token bucket for the samples that events ask for.
 *
 * @module
 */

/** Time as the loop sees it; tests bring their own. */
export interface LoopClock {
  /** CLOCK_MONOTONIC, milliseconds. */
  monoMs(): number;
  /** CLOCK_REALTIME, milliseconds since the epoch. */
  wallMs(): number;
  /** CLOCK_BOOTTIME, which goes on while the machine is suspended; undefined where it cannot be read. */
  bootMs(): number | undefined;
  /** Resolves after `ms` or when cancelled; may be early for no reason. */
  wait(ms: number): { readonly done: Promise<void>; cancel(): void };
  /** Resolves after `ms`, in the plainest way there is. */
  rest(ms: number): Promise<void>;
}

/** A moment to sample. */
export interface Tick {
  readonly wallMs: number;
  readonly monoMs: number;
  /** Milliseconds behind the deadline; 0 when an event asked for the sample. */
  readonly lateMs: number;
  /** Events since the last tick that got no sample of their own. */
  readonly droppedWakes: number;
}

/** What the loop tells. */
export interface LoopHandlers {
  onTick(tick: Tick): void;
  /** The wall clock was set: it went `deltaMs` further than the monotonic one. */
  onClockStep(deltaMs: number): void;
  /** At least one sample was missed: nothing was heard for `gapMs`, all of it asleep if `wasSuspended`. */
  onResume(gapMs: number, wasSuspended: boolean): void;
}

const MAX_WAIT_MS = 60_000;
const MIN_DISTANCE_MS = 100;
const EARLY_LIMIT = 10;
/** setTimeout counts whole milliseconds: this early is on time. */
const EARLY_TOLERANCE_MS = 2;
const STEP_MS = 500;
const MISSED_MIN_MS = 1_000;
const BURST = 20;
const TOKENS_PER_MS = 2 / 1_000;

/** See the module's description. */
export class Loop {
  readonly #intervalMs: number;
  readonly #distanceMs: number;
  readonly #clock: LoopClock;
  readonly #handlers: LoopHandlers;
  #cancelWait = () => {};
  #isWoken = false;
  #tokens = BURST;
  #tokensMs: number;
  #droppedWakes = 0;
  #lastMs = -Infinity;
  readonly #wall = new Offset();
  readonly #boot = new Offset();

  constructor(intervalMs: number, handlers: LoopHandlers, clock: LoopClock = realClock()) {
    this.#intervalMs = intervalMs;
    this.#distanceMs = Math.min(intervalMs, MIN_DISTANCE_MS);
    this.#handlers = handlers;
    this.#clock = clock;
    const nowMs = this.#tokensMs = clock.monoMs();
    this.#wall.shift(clock.wallMs(), nowMs);
    this.#boot.shift(clock.bootMs(), nowMs);
  }

  /** Asks for a sample now, because something happened. */
  wake(): void {
    this.#isWoken = true;
    this.#cancelWait();
  }

  /** Samples at once and then at each deadline until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.#cancelWait();
    signal.addEventListener("abort", stop);
    try {
      let deadlineMs = this.#clock.monoMs();
      let restMs = -Infinity;
      let early = 0;
      while (!signal.aborted) {
        const nowMs = this.#clock.monoMs();
        if (this.#takeWake(nowMs)) {
          early = 0;
          this.#tick(nowMs, nowMs);
          continue;
        }
        // A clock that jumped back would put the deadline out of reach.
        if (deadlineMs - nowMs > this.#intervalMs) deadlineMs = nowMs + this.#intervalMs;
        const floorMs = this.#lastMs + this.#distanceMs;
        const dueMs = nowMs < this.#lastMs ? deadlineMs : Math.max(deadlineMs, floorMs, restMs);
        if (nowMs >= dueMs) {
          early = 0;
          this.#tick(nowMs, deadlineMs);
          // From before the sample: one that took long, or a stop in the middle of it, makes the next one late.
          const nextMs = nowMs + Math.max(this.#intervalMs / 4, this.#distanceMs);
          deadlineMs = Math.max(deadlineMs + this.#intervalMs, nextMs);
          restMs = this.#clock.monoMs() + this.#intervalMs / 4;
          continue;
        }
        const waitMs = Math.min(dueMs - nowMs, MAX_WAIT_MS);
        if (early < EARLY_LIMIT) {
          const { done, cancel } = this.#clock.wait(waitMs);
          this.#cancelWait = cancel;
          await done;
        } else await this.#clock.rest(this.#intervalMs);
        const isEarly = this.#clock.monoMs() < nowMs + waitMs - EARLY_TOLERANCE_MS;
        early = isEarly && !this.#isWoken ? early + 1 : 0;
      }
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Whether an event asked for a sample and the bucket grants it. */
  #takeWake(nowMs: number): boolean {
    if (!this.#isWoken) return false;
    this.#isWoken = false;
    const passedMs = Math.max(0, nowMs - this.#tokensMs);
    this.#tokens = Math.min(BURST, this.#tokens + passedMs * TOKENS_PER_MS);
    this.#tokensMs = nowMs;
    if (this.#tokens >= 1) {
      this.#tokens--;
      return true;
    }
    this.#droppedWakes++;
    return false;
  }

  #tick(nowMs: number, deadlineMs: number): void {
    const wallMs = this.#clock.wallMs();
    const lateMs = Math.max(0, Math.round(nowMs - deadlineMs));
    const suspendedMs = this.#boot.shift(this.#clock.bootMs(), nowMs);
    const steppedMs = this.#wall.shift(wallMs, nowMs) - suspendedMs;
    const gapMs = nowMs - this.#lastMs + suspendedMs;
    if (suspendedMs > STEP_MS) this.#handlers.onResume(Math.round(gapMs), true);
    else if (lateMs >= Math.max(this.#intervalMs, MISSED_MIN_MS)) {
      this.#handlers.onResume(Math.round(gapMs), false);
    }
    if (Math.abs(steppedMs) > STEP_MS) this.#handlers.onClockStep(Math.round(steppedMs));
    this.#lastMs = nowMs;
    const droppedWakes = this.#droppedWakes;
    this.#droppedWakes = 0;
    this.#handlers.onTick({ wallMs, monoMs: nowMs, lateMs, droppedWakes });
  }
}

/** Distance of a clock from the monotonic one. */
class Offset {
  #before: number | undefined;

  /** How far it moved since the last time; 0 where one of the two readings is missing. */
  shift(valueMs: number | undefined, nowMs: number): number {
    const before = this.#before;
    this.#before = valueMs === undefined ? undefined : valueMs - nowMs;
    return before === undefined || this.#before === undefined ? 0 : this.#before - before;
  }
}

/** The machine's clocks. `/proc/uptime` is CLOCK_BOOTTIME in hundredths of a second. */
export function realClock({ proc = "/proc" }: { proc?: string } = {}): LoopClock {
  let uptime: Deno.FsFile | undefined;
  const buffer = new Uint8Array(64);
  const decoder = new TextDecoder();
  return {
    monoMs: () => performance.now(),
    wallMs: () => Date.now(),
    bootMs() {
      try {
        uptime ??= Deno.openSync(`${proc}/uptime`);
        uptime.seekSync(0, Deno.SeekMode.Start);
        const seconds = Number.parseFloat(decoder.decode(buffer.subarray(0, uptime.readSync(buffer) ?? 0)));
        return Number.isNaN(seconds) ? undefined : seconds * 1_000;
      } catch {
        return undefined; // without it a suspended machine looks like a stepped clock
      }
    },
    wait(ms) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, Math.max(1, ms));
      return {
        done: promise,
        cancel() {
          clearTimeout(timer);
          resolve();
        },
      };
    },
    rest: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  };
}
