/**
 * The newest sample as a file for the textfile collector of Prometheus' node_exporter, which reads `*.prom` of one
 * directory. The file is replaced by a rename, so that no scrape sees half of it, and has no timestamps: the
 * collector refuses those. Deltas become counters that grow for as long as the probe runs.
 * Format: Prometheus' text exposition format 0.0.4.
 *
 * @module
 */
import { splitPath } from "../host/publish.ts";
import { KEY_TABLE, type KeySpec, type Sample } from "./keys.ts";
import { LineQueue, type QueueOptions } from "./line_queue.ts";

const PREFIX = "davit_vitals_";
/** Numbers of a line, not of the machine. */
const LEFT_OUT = new Set(["seq", "lost"]);

/** Text of the file, grown from sample to sample. */
export class PrometheusText {
  readonly #labels: string;
  readonly #sums = new Map<string, number>();

  /** `labels` are on every metric; their values may be anything. */
  constructor(labels: Readonly<Record<string, string | undefined>> = {}) {
    const pairs = Object.entries(labels).filter(([, value]) => value !== undefined && value !== "")
      .map(([name, value]) => `${name}="${escapeLabel(value!)}"`);
    this.#labels = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
  }

  /** The file after `sample`, taken at `wallMs`. */
  format(sample: Sample, { wallMs, isRunning }: { wallMs: number; isRunning: boolean }): string {
    let text = this.#metric("running", "gauge", "1 while the probe samples, 0 when it has ended", +isRunning);
    text += this.#metric(
      "last_sample_timestamp_seconds",
      "gauge",
      "When the newest sample was taken",
      wallMs / 1_000,
    );
    for (const spec of KEY_TABLE) {
      const value = sample.get(spec.key);
      if (LEFT_OUT.has(spec.key)) continue;
      if (spec.kind === "delta") {
        if (typeof value === "number" && isRunning) {
          this.#sums.set(spec.key, (this.#sums.get(spec.key) ?? 0) + value);
        }
        const sum = this.#sums.get(spec.key);
        if (sum !== undefined) text += this.#metric(`${spec.key}_total`, "counter", spec.help, sum);
      } else if (value !== undefined) {
        const name = spec.kind === "counter" ? `${spec.key}_total` : spec.key;
        text += this.#metric(name, typeOf(spec), spec.help, value === "max" ? Infinity : value);
      }
    }
    return text;
  }

  #metric(name: string, type: "gauge" | "counter", help: string, value: number): string {
    const full = PREFIX + name;
    const number = value === Infinity ? "+Inf" : String(value);
    return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${full}${this.#labels} ${number}\n`;
  }
}

/** Replaces the file at `path`, never waiting for the disk: the newest text wins. */
export class TextFile {
  readonly #queue: LineQueue;

  constructor(path: string, options: Pick<QueueOptions, "onState" | "slowRetryMs"> = {}) {
    const { directory, name } = splitPath(path);
    const temp = `${directory}/.${name}.tmp.${crypto.randomUUID().slice(0, 8)}`;
    this.#queue = new LineQueue((text) => replace(temp, path, text), { ...options, capacity: 2 });
  }

  /** Has `text` in the file soon. */
  put(text: string): void {
    this.#queue.push(text);
  }

  /** Waits up to `deadlineMs` for the newest text to be there; tells whether it is. */
  async drain(deadlineMs: number): Promise<boolean> {
    return await this.#queue.drain(deadlineMs);
  }
}

async function replace(temp: string, path: string, text: string): Promise<void> {
  await refuseOther(path);
  try {
    // Of another name than *.prom, so that a scrape in between passes it over. node_exporter runs as another user.
    await Deno.writeTextFile(temp, text, { mode: 0o644 });
    await Deno.rename(temp, path);
  } catch (error) {
    await Deno.remove(temp).catch(() => {}); // the first error is the one to tell
    throw error;
  }
}

/** A rename would put a file in the place of a device, a pipe or a link: of /dev/null, for root. */
async function refuseOther(path: string): Promise<void> {
  const found = await Deno.lstat(path).catch(() => undefined); // what is not there is made
  if (found?.isDirectory) throw new Error("Is a directory (os error 21)");
  if (found !== undefined && !found.isFile) throw new Error("File exists (os error 17)");
}

function typeOf({ kind }: KeySpec): "gauge" | "counter" {
  return kind === "counter" ? "counter" : "gauge";
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
