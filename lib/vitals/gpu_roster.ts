/**
 * Which GPUs are known and how they are: turns the helper's reports into lines and events. A report that says nothing
 * of a GPU does not make it lost; a complete list without it does.
 *
 * @module
 */
import type { GpuFacts, GpuReport, GpuVendor } from "./gpu_report.ts";
import type { LineFields } from "./line.ts";

/** Receives lines and events. */
export interface GpuTeller {
  /** Fields of a line of kind `gpu`. */
  readonly onLine: (fields: LineFields) => void;
  readonly onEvent: (event: string, fields: LineFields) => void;
}

/** `missing`: it was there once and is no longer listed. */
type GpuState = "ok" | "hung" | "missing" | "error";

interface Known {
  facts: GpuFacts;
  state: GpuState;
  /** When `facts` were fresh. */
  atMs: number;
}

/** What tells one GPU from another; the rest of the facts goes stale. */
const IDENTITY = new Set(["gpu", "uuid", "bus", "vendor"]);

/** The GPUs of one machine. */
export class GpuRoster {
  readonly #teller: GpuTeller;
  readonly #nowMs: () => number;
  readonly #known = new Map<GpuVendor, Known[]>();
  readonly #states = new Map<GpuVendor, GpuReport["state"]>();

  constructor(teller: GpuTeller, nowMs: () => number = () => performance.now()) {
    this.#teller = teller;
    this.#nowMs = nowMs;
  }

  /** Whether any GPU was ever seen. */
  get knowsAny(): boolean {
    return this.#known.size > 0;
  }

  /** Vendors of which any GPU was ever seen. */
  get vendors(): GpuVendor[] {
    return [...this.#known.keys()];
  }

  /** Takes an answer, tells what changed, and gives each known GPU its line. */
  take(reports: readonly GpuReport[], expected: readonly GpuVendor[]): void {
    const nowMs = this.#nowMs();
    for (const report of reports) this.#takeReport(report, nowMs);
    for (const vendor of expected) {
      if (reports.some((report) => report.vendor === vendor)) continue;
      this.#takeReport({ vendor, state: "ok", gpus: [] }, nowMs); // its devices are gone
    }
    this.tick(nowMs);
  }

  /** Gives each known GPU its line again, older than before. */
  tick(nowMs: number = this.#nowMs()): void {
    for (const { facts, state, atMs } of [...this.#known.values()].flat()) {
      const isFresh = state === "ok" && atMs === nowMs;
      const shown = isFresh ? facts : identityOf(facts);
      this.#teller.onLine({ ...shown, gpu_state: state, gpu_age_ms: Math.round(nowMs - atMs) });
    }
  }

  #takeReport(report: GpuReport, nowMs: number): void {
    const { vendor, state, gpus } = report;
    this.#tellState(report);
    const known = this.#known.get(vendor) ?? [];
    const before = known.filter((item) => item.state !== "missing").length;
    const found = new Set(gpus.map((facts) => this.#refresh(known, facts, nowMs)));
    // An empty list with an error says that nothing could be asked, not that there is nothing.
    const isList = state === "ok" || gpus.length > 0;
    for (const item of known.filter((other) => !found.has(other))) {
      if (!isList) {
        if (item.state !== "missing") item.state = state === "hung" ? "hung" : "error";
      } else if (item.state !== "missing") {
        item.state = "missing";
        this.#teller.onEvent("gpu_lost", { ...identityOf(item.facts), detail: report.detail });
      }
    }
    if (known.length > 0) this.#known.set(vendor, known);
    const after = known.filter((item) => item.state !== "missing").length;
    if (after !== before) this.#teller.onEvent("gpu_count", { vendor, gpus: after, before });
  }

  /** Puts fresh facts into the list; a GPU in trouble may have forgotten its uuid. */
  #refresh(known: Known[], facts: GpuFacts, nowMs: number): Known {
    const same = (key: "uuid" | "bus" | "gpu") =>
      facts[key] === undefined ? undefined : known.find((item) => item.facts[key] === facts[key]);
    const item = same("uuid") ?? (facts.uuid === undefined ? same("bus") ?? same("gpu") : undefined);
    const saysNothing = Object.keys(facts).every((key) => IDENTITY.has(key));
    const state = saysNothing ? "error" : "ok";
    if (item === undefined) {
      const added: Known = { facts, state, atMs: nowMs };
      known.push(added);
      return added;
    }
    item.state = state;
    if (!saysNothing) {
      item.facts = facts;
      item.atMs = nowMs;
    }
    return item;
  }

  #tellState({ vendor, state, detail }: GpuReport): void {
    const before = this.#states.get(vendor) ?? "ok";
    this.#states.set(vendor, state);
    if (state === before) return;
    if (state === "hung") return this.#teller.onEvent("gpu_hung", { vendor, detail });
    if (state === "ok") return this.#teller.onEvent("source_back", { source: "gpu", vendor });
    this.#teller.onEvent("source_lost", {
      source: "gpu",
      vendor,
      errno: state === "no_tool" ? "ENOENT" : undefined,
      detail,
    });
  }
}

function identityOf(facts: GpuFacts): GpuFacts {
  return Object.fromEntries(Object.entries(facts).filter(([key]) => IDENTITY.has(key)));
}
