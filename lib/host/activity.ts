/**
 * What a long piece of work is doing right now. The worker writes it; a progress display and the status file
 * that waiting processes read (lib/host/holder_status.ts) look at it.
 *
 * @module
 */

/** One thing with a size that moves, such as a layer being downloaded. Sizes in bytes. */
export interface Bar {
  readonly label: string;
  done: number;
  /** Unknown sizes are undefined. */
  total: number | undefined;
}

/** The state of a long piece of work, changed in place. */
export class Activity {
  /** What is being done, one word: look, wait, resolve, download, check, publish … */
  phase = "look";
  /** Which try of the phase this is, from 1: a retry counts as progress for those who wait. */
  attempt = 1;
  /** Signs of life where no bytes move: a wait that was asked for, data on its way to the disk. */
  ticks = 0;
  /** What a person should know meanwhile, such as whom we wait for. */
  note: string | undefined;
  /** The parts of this phase, in the order in which they began. */
  readonly bars = new Map<string, Bar>();
  /** How long each phase took so far, in milliseconds of the monotonic clock, in order of first appearance. */
  readonly durationsMs = new Map<string, number>();
  #begunAt = performance.now();

  /** Begins a phase: earlier bars go. */
  begin(phase: string): void {
    const now = performance.now();
    this.durationsMs.set(this.phase, (this.durationsMs.get(this.phase) ?? 0) + now - this.#begunAt);
    this.#begunAt = now;
    this.phase = phase;
    this.attempt = 1;
    this.note = undefined;
    this.bars.clear();
  }

  /** Runs `work`, of which nothing can be seen from outside, with a tick every second for at most `limitMs`. */
  async ticking<T>(limitMs: number, work: Promise<T>): Promise<T> {
    let left = limitMs / 1000;
    const timer = setInterval(() => this.ticks += left-- > 0 ? 1 : 0, 1000);
    try {
      return await work;
    } finally {
      clearInterval(timer);
    }
  }

  /** Adds a bar (or resets the one with the same id) and returns it for its owner to move. */
  bar(id: string, label: string, total?: number): Bar {
    const bar: Bar = { label, done: 0, total };
    this.bars.set(id, bar);
    return bar;
  }

  /** Bytes moved in this phase. */
  get doneBytes(): number {
    let sum = 0;
    for (const bar of this.bars.values()) sum += bar.done;
    return sum;
  }

  /** Bytes this phase will move, or undefined while any part is of unknown size. */
  get totalBytes(): number | undefined {
    let sum = 0;
    for (const bar of this.bars.values()) {
      if (bar.total === undefined) return undefined;
      sum += bar.total;
    }
    return this.bars.size === 0 ? undefined : sum;
  }
}
