/**
 * What signals do to an `exec`: the first ones go to the command, as a terminal would send them; one more that ends
 * davit, or a command that does not go within the grace, ends it inside the container.
 *
 * @module
 */
import { Failure } from "../failure.ts";

const NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

/** Takes signals, hands them to the commands on all hosts. */
export class ExecSignals implements Disposable {
  readonly #abort = new AbortController();
  readonly #readers = new Set<ReadableStreamDefaultController<unknown>>();
  readonly #graceMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor({ graceMs }: { graceMs: number }) {
    this.#graceMs = graceMs;
  }

  /** Aborted when the commands are to be ended; the reason is a {@linkcode Failure} with 128 and the number. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Takes one. Before any command runs, a signal that ends programs ends this one too. */
  take(name: string): void {
    const number = NUMBERS[name];
    const isRunning = this.#readers.size > 0;
    this.tell({ signal: name });
    if (number === undefined) return;
    const reason = new Failure(128 + number, `Interrupted by ${name}`, { code: "interrupted" });
    if (!isRunning || this.#timer !== undefined) return this.#abort.abort(reason);
    this.#timer = setTimeout(() => this.#abort.abort(reason), this.#graceMs);
  }

  /** Sends a message to all commands that run. */
  tell(message: unknown): void {
    for (const reader of this.#readers) reader.enqueue(message);
  }

  /** The messages for one more command, from now on; `first` before all others. */
  messages(first: readonly unknown[] = []): AsyncIterable<unknown> {
    let own: ReadableStreamDefaultController<unknown>;
    return new ReadableStream<unknown>({
      start: (controller) => {
        own = controller;
        this.#readers.add(controller);
        for (const message of first) controller.enqueue(message);
      },
      cancel: () => void this.#readers.delete(own),
    });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const reader of this.#readers) reader.close();
    this.#readers.clear();
  }
}
