/**
 * Answers requests of the native protocol; protocol.ts has it in words.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { Log } from "../host/log.ts";
import { VERSION } from "../version.ts";
import { bearerOf } from "./auth.ts";
import { readBytes, readJson } from "./body.ts";
import type { Job } from "./job.ts";
import { checkSpec } from "./job_spec.ts";
import type { Jobs } from "./jobs.ts";
import type { Lease } from "./lease.ts";
import type { Metrics } from "./metrics.ts";
import { ID_REGEXP, KILL_SIGNALS, type KillSignal, type ServerStatus } from "./protocol.ts";
import { streamBody } from "./stream_body.ts";

/** What is served. */
export interface HookServerParts {
  readonly instance: string;
  readonly isToken: (token: string) => boolean;
  readonly jobs: Jobs;
  readonly lease: Lease;
  readonly metrics: Metrics;
  readonly rpcDir: { readonly path: string; readonly wipes: number };
  /** What happened to the server, the last lines. */
  readonly notices: () => readonly string[];
  readonly log: Log;
}

/** Status of an error, by its code. */
const STATUS: Readonly<Record<string, number>> = {
  ...{ bad_spec: 400, bad_id: 400, bad_json: 400, bad_body: 400, bad_request: 400, unauthorized: 401 },
  ...{ not_found: 404, unknown_job: 404, method: 405, forgotten: 410, too_large: 413, stopping: 503 },
};

/** See the module's description. */
export class HookServer {
  readonly #parts: HookServerParts;
  readonly #startMs = performance.now();

  constructor(parts: HookServerParts) {
    this.#parts = parts;
  }

  /** Answers one request, whatever it is. */
  async handle(request: Request): Promise<Response> {
    const { metrics, log } = this.#parts;
    let response: Response;
    try {
      response = await this.#route(request);
    } catch (error) {
      if (!(error instanceof Failure)) {
        log.error("this is a bug in davit", { why: (error as Error).stack ?? String(error) });
      }
      response = error instanceof Failure ? refusal(error) : errorAnswer(500, "bug", "the server failed");
    }
    metrics.add(`requests_total{class="${Math.floor(response.status / 100)}xx"}`);
    return response;
  }

  async #route(request: Request): Promise<Response> {
    const { method } = request;
    const url = request.url.slice(request.url.indexOf("/", "http://".length));
    const [path = "", query = ""] = url.split("?", 2);
    if (path === "/health" && method === "GET") return this.#health();
    if (path === "/metrics" && method === "GET") return this.#metrics();
    if (!this.#parts.isToken(bearerOf(request.headers.get("authorization")))) {
      throw new Failure("NOPERM", "the token is missing or wrong", { code: "unauthorized" });
    }
    this.#parts.lease.contact();
    if (path === "/status" && method === "GET") return json(200, this.#status());
    const [, rawId, action = ""] = /^\/v1\/jobs\/([^/]+)(?:\/(stream|ack|kill|input))?$/.exec(path) ?? [];
    if (rawId === undefined) throw new Failure("NOINPUT", "there is no such path", { code: "not_found" });
    const id = idOf(rawId);
    switch (`${method} ${action}`) {
      case "PUT ":
        return await this.#start(id, request);
      case "GET ":
        return json(200, this.#job(id).status);
      case "GET stream":
        return this.#stream(this.#job(id), query);
      case "POST ack":
        return await this.#acknowledge(this.#job(id), request);
      case "POST input":
        return await this.#input(this.#job(id), query, request);
      case "POST kill":
        return await this.#kill(this.#job(id), request);
      default:
        throw new Failure("USAGE", `${method} is nothing that can be done here`, { code: "method" });
    }
  }

  #health(): Response {
    return json(200, { status: "ok", version: VERSION, instance: this.#parts.instance });
  }

  #metrics(): Response {
    const { metrics, jobs, rpcDir } = this.#parts;
    const text = metrics.format({
      jobs_running: jobs.running === undefined ? 0 : 1,
      spool_bytes: jobs.spoolBytes,
      uptime_seconds: Math.round((performance.now() - this.#startMs) / 1000),
      resident_memory_bytes: Deno.memoryUsage().rss,
      wipes_total: rpcDir.wipes,
    });
    return new Response(text, { headers: { "content-type": "text/plain; version=0.0.4" } });
  }

  #status(): ServerStatus {
    const { instance, jobs, rpcDir, notices } = this.#parts;
    return {
      version: VERSION,
      instance,
      pid: Deno.pid,
      uptime_ms: Math.round(performance.now() - this.#startMs),
      rpc_dir: rpcDir.path,
      job: jobs.running?.status ?? null,
      recent: jobs.recent.map(({ status }) => status),
      notices: notices(),
    };
  }

  async #start(id: string, request: Request): Promise<Response> {
    const { jobs } = this.#parts;
    const body = await readJson(request);
    const outcome = jobs.start(id, () => checkSpec(body));
    if (outcome.kind === "started") return json(201, outcome.job.status);
    if (outcome.kind === "known") return json(200, outcome.job.status);
    if (outcome.kind === "busy") {
      const { id: runningId, status, age_ms } = outcome.running.status;
      const message = `job "${runningId}" is ${status} for ${(age_ms / 1000).toFixed(1)} s`;
      return json(409, { error: { code: "busy", message }, running: { id: runningId, status, age_ms } });
    }
    if (outcome.kind === "stopping") {
      throw new Failure("TEMPFAIL", "the server was told to stop", { code: "stopping" });
    }
    throw new Failure("NOINPUT", `job "${id}" ran here, and too many after it to tell how it ended`, {
      code: "forgotten",
      hint: "an id never runs twice: take another one",
    });
  }

  #job(id: string): Job {
    const { jobs } = this.#parts;
    const job = jobs.find(id);
    if (job !== undefined) return job;
    if (jobs.has(id)) {
      throw new Failure("NOINPUT", `job "${id}" ran here, and too many after it`, { code: "forgotten" });
    }
    throw new Failure("NOINPUT", `there is no job "${id}"`, { code: "unknown_job" });
  }

  #stream({ id, spool }: Job, query: string): Response {
    const text = new URLSearchParams(query).get("from") ?? "0";
    if (!/^\d{1,15}$/.test(text)) throw badRequest(`from: expected a frame's number, got "${text}"`);
    const reader = spool.openAfter(Number(text));
    if (reader === undefined) {
      const message = `output of job "${id}" before frame ${spool.firstSeq} is not kept any more`;
      return json(410, { error: { code: "released", message }, first_seq: spool.firstSeq });
    }
    const body = streamBody({ spool, reader, onClose: this.#parts.lease.open() });
    return new Response(body, { headers: { "content-type": "application/octet-stream" } });
  }

  async #acknowledge(job: Job, request: Request): Promise<Response> {
    const { seq } = (await readJson(request) ?? {}) as { seq?: unknown };
    if (!Number.isSafeInteger(seq) || (seq as number) < 0) throw badRequest("seq: expected a frame's number");
    job.spool.acknowledge(seq as number);
    return json(200, { acked_seq: job.spool.ackedSeq });
  }

  async #input({ id, input }: Job, query: string, request: Request): Promise<Response> {
    const params = new URLSearchParams(query);
    const offset = params.get("offset") ?? "";
    if (input === undefined) throw badRequest(`job "${id}" has no input`);
    if (!/^\d{1,15}$/.test(offset)) throw badRequest(`offset: expected a number of bytes, got "${offset}"`);
    return json(200, await input.take(Number(offset), await readBytes(request), params.get("end") === "1"));
  }

  async #kill(job: Job, request: Request): Promise<Response> {
    const { signal } = (await readJson(request) ?? {}) as { signal?: unknown };
    if (signal !== undefined && !KILL_SIGNALS.includes(signal as KillSignal)) {
      throw badRequest(`signal: expected one of ${KILL_SIGNALS.join(", ")}`);
    }
    this.#parts.log.info("a job is to be ended", { id: job.id, signal: signal as KillSignal | undefined });
    job.kill(signal as KillSignal | undefined);
    return json(202, job.status);
  }
}

function idOf(raw: string): string {
  let id: string | undefined;
  try {
    id = decodeURIComponent(raw);
  } catch {
    // no percent-encoding: what follows says so
  }
  if (id !== undefined && ID_REGEXP.test(id)) return id;
  const wanted = "letters, digits, dots, dashes and underscores, at most 128";
  throw new Failure("DATAERR", `that is no id of a job: expected ${wanted}`, { code: "bad_id" });
}

function badRequest(message: string): Failure {
  return new Failure("DATAERR", message, { code: "bad_request" });
}

function refusal({ code, message, hint }: Failure): Response {
  return errorAnswer(STATUS[code] ?? 500, code, message, hint);
}

function errorAnswer(status: number, code: string, message: string, hint?: string): Response {
  return json(status, { error: { code, message, ...hint === undefined ? {} : { hint } } });
}

function json(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
}
