/**
 * Numbers and dates the lines of one probe and hands them on, unless it is quiet. The start line comes first: events
 * from before it are held back. The newest lines are kept, so that a verdict needs no reading back.
 *
 * @module
 */
import { KeptLines } from "./kept_lines.ts";
import type { Sample } from "./keys.ts";
import { formatLine, formatSample, type LineFields, type LineKind, type Moment } from "./line.ts";
import type { Outputs } from "./outputs.ts";
import { formatTuistOom, formatTuistSample } from "./tuist.ts";

/** How the lines look on stdout; everywhere else they are ours. */
export type StdoutFormat = "logfmt" | "tuist";

/** What does not change from line to line. */
export interface EmitterOptions {
  readonly tag: string;
  readonly format: StdoutFormat;
  /** CLOCK_MONOTONIC of the probe's start, for `mono_ms`. */
  readonly startMs: number;
}

/** Ten minutes at the default interval. */
const KEPT_SAMPLES = 200;
const KEPT_EVENTS = 64;

/** See the module's description. */
export class Emitter {
  /** While true, nothing is emitted; events are forgotten. */
  isQuiet = false;
  readonly #options: EmitterOptions;
  readonly #held: [event: string, fields: LineFields, moment: Moment][] = [];
  #outputs: Pick<Outputs, "write"> | undefined;
  #start: string | undefined;
  readonly #samples = new KeptLines(KEPT_SAMPLES);
  readonly #events = new KeptLines(KEPT_EVENTS);
  readonly #gpus = new KeptLines(KEPT_EVENTS);
  #seq = 0;
  #count = 0;

  constructor(options: EmitterOptions) {
    this.#options = options;
  }

  /** Whether the start line is out. */
  get hasStarted(): boolean {
    return this.#start !== undefined;
  }

  /** Samples that were emitted. */
  get samples(): number {
    return this.#count;
  }

  /** Emits the start line, to `outputs` as all that follows, and then the events that came before it. */
  start(outputs: Pick<Outputs, "write">, fields: LineFields): void {
    this.#outputs = outputs;
    this.#start = this.#emit("start", fields, this.#now());
    for (const [event, rest, moment] of this.#held.splice(0)) this.#emit("event", { event, ...rest }, moment);
  }

  /** Emits an event. */
  event(event: string, fields: LineFields = {}): void {
    if (!this.hasStarted) {
      this.#held.push([event, fields, this.#now()]);
      if (this.#held.length > KEPT_EVENTS) this.#held.shift();
    } else if (!this.isQuiet) {
      this.#emit("event", { event, ...fields }, this.#now());
    }
  }

  /** Emits a line about a GPU. */
  gpu(fields: LineFields): void {
    if (this.hasStarted && !this.isQuiet) this.#emit("gpu", fields, this.#now());
  }

  /** Emits a sample taken at `wallMs` and `nowMs` (monotonic); its `seq` is set here. */
  sample(sample: Sample, wallMs: number, nowMs: number): void {
    if (!this.hasStarted || this.isQuiet) return;
    const { tag, format, startMs } = this.#options;
    sample.set("seq", this.#seq++);
    this.#count++;
    const line = formatSample(tag, { wallMs, monoMs: nowMs - startMs }, sample);
    this.#samples.push(line);
    const shown = format === "tuist" ? formatTuistSample(tag, wallMs, sample) : line;
    this.#outputs!.write("sample", line, { shown });
  }

  /** Emits the end line, unless nothing was ever emitted or the log is quiet. */
  end(fields: LineFields): void {
    if (this.hasStarted && !this.isQuiet) this.#emit("end", fields, this.#now());
  }

  /** The newest lines, the start and an end as it would be with `fields`. */
  linesWithEnd(fields: LineFields): string[] {
    const end = formatLine(this.#options.tag, "end", this.#now(), { seq: this.#seq, ...fields });
    return [this.#start ?? "", ...this.#events, ...this.#gpus, ...this.#samples, end];
  }

  #emit(kind: Exclude<LineKind, "sample">, fields: LineFields, moment: Moment): string {
    const { tag, format } = this.#options;
    const { seq: _, ...rest } = fields;
    const line = formatLine(tag, kind, moment, { seq: this.#seq++, ...rest });
    if (kind === "event") this.#events.push(line);
    // Apart: eight GPUs would push an event out within a minute.
    if (kind === "gpu") this.#gpus.push(line);
    const isOld = fields.old === true;
    const shown = format === "tuist" ? tuistEvent(tag, moment, kind, fields) : line;
    this.#outputs!.write(kind, line, { shown, isOld });
    return line;
  }

  #now(): Moment {
    return { wallMs: Date.now(), monoMs: performance.now() - this.#options.startMs };
  }
}

/** The peer has two lines: samples, and OOM kills as the kernel words them. It does not know old ones from new. */
function tuistEvent(tag: string, { wallMs }: Moment, kind: LineKind, fields: LineFields): string | null {
  if (kind !== "event" || fields.event !== "oom" || fields.old === true || fields.pid === undefined) {
    return null;
  }
  const sizes = [
    ["total-vm", fields.total_vm_kb],
    ["anon-rss", fields.anon_rss_kb],
    ["file-rss", fields.file_rss_kb],
    ["shmem-rss", fields.shmem_rss_kb],
  ].filter(([, value]) => value !== undefined).map(([name, value]) => `${name}:${value}kB`);
  const scope = fields.oom_memcg === undefined ? "Out of memory" : "Memory cgroup out of memory";
  return formatTuistOom(
    tag,
    wallMs,
    `${scope}: Killed process ${fields.pid} (${fields.comm}) ${sizes.join(", ")}`,
  );
}
