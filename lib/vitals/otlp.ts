/**
 * Samples for an OpenTelemetry collector: OTLP/HTTP with JSON (opentelemetry-proto, metrics/v1), collected into
 * batches and sent in the background. What cannot be delivered is dropped: the lines are the record, this is a copy.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import { KEY_TABLE, type KeyUnit, type Sample } from "./keys.ts";

const SCOPE = "davit.vitals";
/** UCUM, as OpenTelemetry's conventions ask for. */
const UNITS: Record<KeyUnit, string> = {
  bytes: "By",
  kibibytes: "KiBy",
  percent: "%",
  microseconds: "us",
  milliseconds: "ms",
  count: "1",
};
const LEFT_OUT = new Set(["seq", "lost"]);
const DELTA = 1;
const CUMULATIVE = 2;

/** Where and how to send. Header values are secrets: they come from the environment and go into no message. */
export interface OtlpOptions {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Resource attributes. */
  readonly attributes: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly batchMs?: number;
  readonly timeoutMs?: number;
  /** Samples kept while nothing can be sent. */
  readonly capacity?: number;
  /** Told when sending begins to fail and when it works again. */
  readonly onState?: (state: { kind: "lost" | "back"; reason: string; dropped: number }) => void;
}

interface Entry {
  readonly wallMs: number;
  readonly previousMs: number;
  readonly sample: Sample;
}

/** Sends what it is given in batches. */
export class OtlpSender {
  readonly #options: OtlpOptions & { readonly batchMs: number; readonly timeoutMs: number; capacity: number };
  readonly #url: string;
  #entries: Entry[] = [];
  #previousMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sending: Promise<void> | undefined;
  #isLost = false;
  #dropped = 0;

  constructor(options: OtlpOptions, { nowMs = Date.now() }: { nowMs?: number } = {}) {
    this.#options = { batchMs: 10_000, timeoutMs: 2_000, capacity: 64, ...options };
    this.#url = metricsUrl(options.url);
    this.#previousMs = nowMs;
  }

  /** Samples that were not delivered. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes a sample; returns at once. */
  add(wallMs: number, sample: Sample): void {
    this.#entries.push({ wallMs, previousMs: this.#previousMs, sample: new Map(sample) });
    this.#previousMs = wallMs;
    if (this.#entries.length > this.#options.capacity) {
      this.#entries.shift();
      this.#dropped++;
    }
    this.#timer ??= setTimeout(() => void this.#send(), this.#options.batchMs);
  }

  /** Sends what is left, waiting up to `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, deadlineMs));
    const all = (async () => {
      await this.#sending;
      await this.#send();
    })();
    await Promise.race([all, late]);
    clearTimeout(timer);
    clearTimeout(this.#timer);
  }

  #send(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const entries = this.#entries;
    if (this.#sending !== undefined || entries.length === 0) return this.#sending ?? Promise.resolve();
    this.#entries = [];
    this.#sending = this.#post(entries).finally(() => {
      this.#sending = undefined;
      if (this.#entries.length > 0) {
        this.#timer ??= setTimeout(() => void this.#send(), this.#options.batchMs);
      }
    });
    return this.#sending;
  }

  async #post(entries: readonly Entry[]): Promise<void> {
    const { headers, timeoutMs, onState } = this.#options;
    let reason: string | undefined;
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        headers: { ...headers, "content-type": "application/json" },
        body: JSON.stringify(this.#request(entries)),
        signal: AbortSignal.timeout(timeoutMs),
        redirect: "error", // headers may hold a token for this host alone
      });
      await response.body?.cancel();
      if (!response.ok) reason = `HTTP ${response.status}`;
    } catch (error) {
      reason = messageOf(error);
    }
    if (reason !== undefined) this.#dropped += entries.length;
    if (this.#isLost === (reason !== undefined)) return;
    this.#isLost = reason !== undefined;
    onState?.({ kind: this.#isLost ? "lost" : "back", reason: reason ?? "", dropped: this.#dropped });
  }

  #request(entries: readonly Entry[]): unknown {
    const attributes = Object.entries({ "service.name": "davit-vitals", ...this.#options.attributes })
      .filter(([, value]) => value !== undefined && value !== "")
      .map(([key, value]) => ({ key, value: { stringValue: value } }));
    const scope = { name: SCOPE, version: this.#options.version };
    const metrics = metricsOf(entries);
    return { resourceMetrics: [{ resource: { attributes }, scopeMetrics: [{ scope, metrics }] }] };
  }
}

function metricsOf(entries: readonly Entry[]): unknown[] {
  return KEY_TABLE.filter(({ key }) => !LEFT_OUT.has(key)).flatMap(({ key, unit, kind, help }) => {
    const dataPoints = entries.flatMap(({ wallMs, previousMs, sample }) => {
      const value = sample.get(key);
      if (typeof value !== "number") return []; // "max" is no number: an absent limit has no point
      // When a counter of the kernel's began, nobody knows: such a point has no start.
      const since = kind === "delta" ? { startTimeUnixNano: nanos(previousMs) } : {};
      return [{ ...since, timeUnixNano: nanos(wallMs), ...numberOf(value) }];
    });
    if (dataPoints.length === 0) return [];
    const data = kind === "gauge" ? { gauge: { dataPoints } } : {
      sum: {
        dataPoints,
        aggregationTemporality: kind === "delta" ? DELTA : CUMULATIVE,
        isMonotonic: true,
      },
    };
    return [{ name: `${SCOPE}.${key}`, unit: UNITS[unit], description: help, ...data }];
  });
}

/** int64 is text in Protobuf's JSON. */
function numberOf(value: number): { asInt: string } | { asDouble: number } {
  return Number.isSafeInteger(value) ? { asInt: String(value) } : { asDouble: value };
}

function nanos(ms: number): string {
  return `${Math.round(ms)}000000`;
}

/** An endpoint without a path gets OTLP's own; one with a path is meant as it is. Throws SyntaxError. */
export function metricsUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new SyntaxError("expected an http:// or https:// URL"); // what it is may hold a password
  }
  if (url.username !== "" || url.password !== "") {
    throw new SyntaxError("expected a URL without a login: OTEL_EXPORTER_OTLP_HEADERS carries secrets");
  }
  if (url.pathname === "/") url.pathname = "/v1/metrics";
  return url.href;
}

/**
 * The headers of `OTEL_EXPORTER_OTLP_HEADERS`, `key=value,key=value` with percent-encoded values (OpenTelemetry
 * specification, Protocol Exporter); pairs that are none are counted in `bad` and their text is told nobody.
 */
export function parseOtlpHeaders(text: string): { headers: Record<string, string>; bad: number } {
  const headers: Record<string, string> = {};
  let bad = 0;
  for (const pair of text.split(",").map((part) => part.trim()).filter(Boolean)) {
    const [, name, value] = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*=\s*(.*)$/.exec(pair) ?? [];
    try {
      const decoded = decodeURIComponent(value ?? "");
      // deno-lint-ignore no-control-regex -- a header must not hold any
      if (name === undefined || /[\u0000-\u001f\u007f-\uffff]/.test(decoded)) throw new URIError();
      headers[name.toLowerCase()] = decoded;
    } catch {
      bad++;
    }
  }
  return { headers, bad };
}
