/**
 * Samples for others than the reader of lines: Prometheus and OpenTelemetry. They come after the line and never
 * delay it; what happens to them is said, once.
 *
 * @module
 */
import type { Log } from "../host/log.ts";
import type { Sample } from "./keys.ts";
import { OtlpSender } from "./otlp.ts";
import type { OnEvent } from "./outputs.ts";
import { PrometheusText, TextFile } from "./textfile.ts";

/** What was asked for. */
export interface CopyOptions {
  /** Absolute path of a file for the textfile collector. */
  readonly textfile?: string | undefined;
  readonly otlp?: { readonly url: string; readonly headers: Readonly<Record<string, string>> } | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly version: string;
}

/** All copies of one probe's samples. */
export class Copies {
  readonly #textfile: TextFile | undefined;
  readonly #text: PrometheusText;
  readonly #otlp: OtlpSender | undefined;
  #last: { readonly sample: Sample; readonly wallMs: number } | undefined;

  constructor(
    { textfile, otlp, env, version }: CopyOptions,
    { log, onEvent }: { log: Log; onEvent: OnEvent },
  ) {
    this.#text = new PrometheusText({ runner: env.RUNNER_NAME, pod: env.POD_NAME });
    if (textfile !== undefined) {
      this.#textfile = new TextFile(textfile, {
        onState(state) {
          if (state.kind === "back") return onEvent("source_back", { source: "textfile" });
          log.warn("cannot write the textfile, going on without it", { file: textfile, errno: state.errno });
          onEvent("source_lost", { source: "textfile", errno: state.errno });
        },
      });
    }
    if (otlp === undefined) return;
    this.#otlp = new OtlpSender({
      ...otlp,
      version,
      attributes: {
        "service.version": version,
        "host.name": Deno.hostname(),
        "k8s.pod.name": env.POD_NAME,
        "process.pid": String(Deno.pid),
      },
      onState({ kind, reason, dropped }) {
        if (kind === "back") return log.info("the OTLP receiver takes samples again", { dropped });
        log.warn("cannot deliver to the OTLP receiver, dropping samples", { reason, dropped });
      },
    });
  }

  /** Takes a sample; returns at once. */
  put(sample: Sample, wallMs: number): void {
    this.#last = { sample, wallMs };
    this.#textfile?.put(this.#text.format(sample, { wallMs, isRunning: true }));
    this.#otlp?.add(wallMs, sample);
  }

  /** Says that no more will come, and waits for delivery up to `deadlineMs`. */
  async close(deadlineMs: number): Promise<void> {
    if (this.#last !== undefined) {
      const { sample, wallMs } = this.#last;
      this.#textfile?.put(this.#text.format(sample, { wallMs, isRunning: false }));
    }
    await Promise.all([this.#textfile?.drain(deadlineMs), this.#otlp?.drain(deadlineMs)]);
  }
}
