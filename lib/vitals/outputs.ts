/**
 * Where the lines go: stdout, and what was asked for beside it. Each channel has its own queue and its own troubles;
 * what happens to one is said on the others, once, as events `source_lost` and `source_back`.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { Fields, Log, LogLevel } from "../host/log.ts";
import type { LineFields, LineKind } from "./line.ts";
import { LineQueue, type QueueState } from "./line_queue.ts";
import { formatLogLine, type LogStyle } from "./log_line.ts";
import { RingFile } from "./ring_file.ts";
import { openStream } from "./stdout_sink.ts";
import { TerminationLog } from "./termination_log.ts";

/** What was asked for. */
export interface OutputOptions {
  readonly ring?: { readonly path: string; readonly sizeBytes: number } | undefined;
  readonly terminationLog?: string | undefined;
  /** Without it, from `info` on, as logfmt. */
  readonly logStyle?: LogStyle | undefined;
  /** Whether lines on stdout may get `lost=N`. */
  readonly marksLost: boolean;
}

/** Told of an event that is to be emitted like any other. */
export type OnEvent = (event: string, fields: LineFields) => void;

/** All channels of one probe. */
export class Outputs {
  /** Diagnostics for a person, as lines on stderr; a stalled reader there stops nothing either. */
  readonly log: Log;
  readonly #stdout: LineQueue;
  readonly #stderr: LineQueue;
  #ring: { readonly file: RingFile; readonly queue: LineQueue } | undefined;
  #terminationLog: TerminationLog | undefined;
  #wantsSync = false;
  #isSyncing = false;

  private constructor(stdout: LineQueue, stderr: LineQueue, logStyle: LogStyle = DEFAULT_STYLE) {
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.log = logTo(stderr, logStyle);
  }

  /** Opens them. A channel that cannot be had is an event and a warning, never an error. */
  static async open(options: OutputOptions, onEvent: OnEvent): Promise<Outputs> {
    const teller = (source: string) => (state: QueueState) => outputs.#tell(source, state, onEvent);
    const outputs: Outputs = new Outputs(
      await openStream("stdout", { marksLost: options.marksLost, onState: teller("stdout") }),
      await openStream("stderr", { marksLost: false }),
      options.logStyle,
    );
    if (options.terminationLog !== undefined) {
      const onState = teller("termination_log");
      outputs.#terminationLog = new TerminationLog(options.terminationLog, { onState });
    }
    if (options.ring !== undefined) await outputs.#openRing(options.ring, teller("ring"), onEvent);
    return outputs;
  }

  /** Lines that stdout did not get and will not get any more. */
  get lost(): number {
    return this.#stdout.lost;
  }

  /**
   * Puts a line of ours everywhere; `shown` is what stdout gets instead, `null` is nothing. Events from before the
   * probe's start (`isOld`) are no last words.
   */
  write(
    kind: LineKind,
    line: string,
    { shown = line, isOld = false }: { shown?: string | null; isOld?: boolean } = {},
  ): void {
    if (shown !== null) this.#stdout.push(shown);
    this.#ring?.queue.push(line);
    if (isOld || kind === "gpu") return;
    this.#terminationLog?.note(kind, line);
    // What explains a death must outlive the machine, too; samples may wait for the kernel's own writing.
    if (kind === "event" || kind === "end") void this.#syncRing();
  }

  /** Writes what is left, up to `deadlineMs`, and closes the ring. */
  async close(deadlineMs: number): Promise<void> {
    await Promise.all([
      this.#stdout.drain(deadlineMs),
      this.#stderr.drain(deadlineMs),
      this.#terminationLog?.drain(deadlineMs),
      this.#ring?.queue.drain(deadlineMs),
    ]);
    this.#ring?.file[Symbol.dispose]();
    this.#ring = undefined;
  }

  async #openRing(
    { path, sizeBytes }: { path: string; sizeBytes: number },
    onState: (state: QueueState) => void,
    onEvent: OnEvent,
  ): Promise<void> {
    try {
      const file = await RingFile.open(path, { sizeBytes });
      this.#ring = { file, queue: new LineQueue((line) => file.write(line), { onState }) };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.log.warn(error.message);
      onEvent("source_lost", { source: "ring", error: error.message });
    }
  }

  async #syncRing(): Promise<void> {
    const ring = this.#ring;
    this.#wantsSync = true;
    if (ring === undefined || this.#isSyncing) return;
    this.#isSyncing = true;
    try {
      while (this.#wantsSync && await ring.queue.drain(SYNC_WAIT_MS)) {
        this.#wantsSync = false;
        await ring.file.sync();
      }
    } catch {
      // Closed meanwhile, or a disk that fails: then the next write fails too, and that is said.
    } finally {
      this.#isSyncing = false;
    }
  }

  #tell(source: string, state: QueueState, onEvent: OnEvent): void {
    if (state.kind === "lost") {
      this.log.warn(`cannot write to ${source}, going on without it`, { errno: state.errno });
      onEvent("source_lost", { source, errno: state.errno });
    } else {
      this.log.info(`writing to ${source} works again`, { lost: state.lost });
      onEvent("source_back", { source });
    }
  }
}

const SYNC_WAIT_MS = 1_000;

const DEFAULT_STYLE: LogStyle = { level: "info", isJson: false };

function logTo(queue: LineQueue, style: LogStyle): Log {
  const at = (level: LogLevel) => (message: string, fields?: Fields) => {
    const line = formatLogLine(style, level, message, fields);
    if (line !== undefined) queue.push(line);
  };
  return { error: at("error"), warn: at("warn"), info: at("info"), debug: at("debug") };
}
