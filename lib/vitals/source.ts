/**
 * One thing that a sample is read from. It may be missing, slow, or vanish while it is open: then it is said once,
 * left alone for a while that doubles, and tried again. Sampling never fails and never waits for it twice in a row.
 *
 * @module
 */
import { errnoOf } from "../host/errno.ts";
import { KeptFile } from "../host/procfs.ts";

/** A source that was lost or came back. */
export interface SourceChange {
  /** Its path, or what is done with it (`statfs /`). */
  readonly source: string;
  readonly state: "lost" | "back";
  /** Why it was lost; ETIMEDOUT is one that was slow twice in a row. */
  readonly errno?: string;
}

/** Told of each change, within the reading that found it. */
export type OnSourceChange = (change: SourceChange) => void;

const RETRY_FIRST_MS = 1_000;
const RETRY_LIMIT_MS = 60_000;
/** A file of procfs takes 10 µs; a stop or a starved CPU hits one source once, a sick one is slow each time. */
const SLOW_MS = 500;
/** The kernel, or the container, simply has no such thing; what was never there is not lost. */
const NEVER_THERE = ["ENOENT", "ENOTDIR", "EOPNOTSUPP"];

/** Guards one way of reading. */
export class Source {
  readonly name: string;
  readonly #onChange: OnSourceChange;
  #wasThere = false;
  #isLost = false;
  #slowReadings = 0;
  #retryMs = 0;
  #retryAtMs = -Infinity;

  constructor(name: string, onChange: OnSourceChange) {
    this.name = name;
    this.#onChange = onChange;
  }

  /**
   * Calls `read`, unless it is too early after a failure. `nowMs` is monotonic. What `read` throws is the failure;
   * so is the text that it returns as `{ failure }`.
   */
  read<T extends object | string>(nowMs: number, read: () => T | Failed): T | undefined {
    if (nowMs < this.#retryAtMs) return undefined;
    const begunMs = performance.now();
    const result = attempt(read);
    const tookMs = performance.now() - begunMs;
    if (isFailed(result)) {
      this.#fail(nowMs, result.failure);
      return undefined;
    }
    this.#slowReadings = tookMs > SLOW_MS ? this.#slowReadings + 1 : 0;
    if (this.#slowReadings >= 2) {
      this.#slowReadings = 0;
      this.#fail(nowMs, "ETIMEDOUT");
    } else {
      this.#succeed();
    }
    return result;
  }

  #fail(nowMs: number, errno: string): void {
    this.#retryMs = Math.min(RETRY_LIMIT_MS, this.#retryMs === 0 ? RETRY_FIRST_MS : this.#retryMs * 2);
    this.#retryAtMs = nowMs + this.#retryMs;
    if (this.#isLost || (!this.#wasThere && NEVER_THERE.includes(errno))) return;
    this.#isLost = true;
    this.#onChange({ source: this.name, state: "lost", errno });
  }

  #succeed(): void {
    this.#wasThere = true;
    this.#retryMs = 0;
    if (!this.#isLost) return;
    this.#isLost = false;
    this.#onChange({ source: this.name, state: "back" });
  }
}

/** How a reading failed. */
export interface Failed {
  readonly failure: string;
}

/** A reading that failed for `failure`, an errno name. */
export function failed(failure: string): Failed {
  return { failure };
}

function isFailed(result: object | string): result is Failed {
  return typeof result === "object" && "failure" in result;
}

function attempt<T extends object | string>(read: () => T | Failed): T | Failed {
  try {
    return read();
  } catch (error) {
    return { failure: errnoOf(error) ?? String(error) };
  }
}

/** A kept file as a source. */
export class FileSource extends Source implements Disposable {
  readonly #file: KeptFile;
  readonly #readText: () => string | Failed;

  /** `whole`: more than the first page is wanted. */
  constructor(path: string, onChange: OnSourceChange, { whole = false } = {}) {
    super(path, onChange);
    const file = new KeptFile(path);
    this.#file = file;
    this.#readText = () => (whole ? file.readAll() : file.readHead()) ?? failed(file.failure ?? "unknown");
  }

  /** Its text, or undefined when it could not be read now. */
  text(nowMs: number): string | undefined {
    return this.read(nowMs, this.#readText);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}
