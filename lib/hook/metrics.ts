/**
 * What a hook server counts, as Prometheus reads it (text exposition format 0.0.4).
 *
 * @module
 */
import type { Result } from "./protocol.ts";

/** Values that are read when they are asked for. */
export interface Gauges {
  readonly jobs_running: number;
  readonly spool_bytes: number;
  readonly uptime_seconds: number;
  readonly resident_memory_bytes: number;
  readonly wipes_total: number;
}

const HELP: Readonly<Record<string, [type: "counter" | "gauge", help: string]>> = {
  jobs_started_total: ["counter", "Jobs that were started, or tried to be"],
  jobs_ended_total: ["counter", "Jobs that ended, by cause and by class of their exit code"],
  output_bytes_total: ["counter", "Bytes of output of jobs that ended, by stream"],
  dropped_bytes_total: ["counter", "Bytes of output that nobody got"],
  orphans_reaped_total: ["counter", "Processes that were left to the server and waited for"],
  requests_total: ["counter", "Requests, by class of their status"],
  wipes_total: ["counter", "Times that a job removed the directory of the output"],
  jobs_running: ["gauge", "Jobs that run now"],
  spool_bytes: ["gauge", "Bytes of output that are kept now"],
  uptime_seconds: ["gauge", "Time since the server was started"],
  resident_memory_bytes: ["gauge", "Memory of the server"],
};

/** The counters of one server. */
export class Metrics {
  readonly #counters = new Map<string, number>();

  constructor() {
    for (const name of ["jobs_started_total", "dropped_bytes_total", "orphans_reaped_total"]) {
      this.add(name, 0);
    }
  }

  /** `name` may have labels: `requests_total{class="2xx"}`. */
  add(name: string, count = 1): void {
    this.#counters.set(name, (this.#counters.get(name) ?? 0) + count);
  }

  /** A job ended. */
  ended({ code, cause, stdout_bytes, stderr_bytes, dropped_bytes }: Result): void {
    const kind = code === 0 ? "zero" : code > 128 ? "signal" : "nonzero";
    this.add(`jobs_ended_total{cause="${cause}",code="${kind}"}`);
    this.add('output_bytes_total{stream="stdout"}', stdout_bytes);
    this.add('output_bytes_total{stream="stderr"}', stderr_bytes);
    this.add("dropped_bytes_total", dropped_bytes);
  }

  /** All of it. */
  format(gauges: Gauges): string {
    const values = [...this.#counters, ...Object.entries(gauges)];
    return Object.entries(HELP).flatMap(([name, [type, help]]) => {
      const lines = values.filter(([key]) => key === name || key.startsWith(`${name}{`))
        .map(([key, value]) => `davit_hook_${key} ${value}`);
      const head = [`# HELP davit_hook_${name} ${help}`, `# TYPE davit_hook_${name} ${type}`];
      return lines.length === 0 ? [] : [...head, ...lines];
    }).join("\n") + "\n";
  }
}
