/**
 * The protocol of the OSDC fork of actions/runner-container-hooks (v0.8.15 and later: `rpc-server`), so that the
 * fork's own hook works against davit unchanged: one job at a time, polled by status and by byte offset. What the
 * fork answers is answered in the same bytes, with one deliberate difference: `/exec` with the id of the running or
 * the last job starts nothing and is answered as the first time was. The fork's hook repeats a request whose reply
 * was lost with the same id; there it is refused as a second job, or the script runs twice.
 *
 * `GET /davit/result` is ours: the last job's result with cause and evidence, for `davit hook wrap`.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import type { Log } from "../host/log.ts";
import { empty, json, queryValue, type Reply, reply, textOf } from "./osdc_http.ts";
import { parseFlatObject, quoteFlat } from "./osdc_json.ts";
import type { Result } from "./protocol.ts";

/** A job, as far as this face needs it. */
export interface OsdcJob {
  /** Settles when the job has ended and all of its output can be read. Never rejects. */
  readonly ended: Promise<Result>;
  /** Sends a signal to the whole tree. */
  signal(name: "TERM" | "KILL"): void;
  /** At most `limit` bytes of a stream from `offset` on, and whether there is more by now. */
  read(
    stream: "stdout" | "stderr",
    offset: number,
    limit: number,
  ): Promise<{ bytes: Uint8Array; more: boolean }>;
  /** Frees what the output takes; called when the next job has been started. */
  release(): void;
}

/** How the protocol is served. */
export interface OsdcOptions {
  readonly isToken: (token: string) => boolean;
  /** Starts `sh -e PATH`. Its error becomes the 500 of `/exec`. */
  readonly start: (path: string) => Promise<OsdcJob>;
  readonly times: OsdcTimes;
  readonly log: Log;
}

/** The fork's time limits, milliseconds. */
export interface OsdcTimes {
  readonly killGraceMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly watchdogTickMs: number;
}

const LOGS_LIMIT_BYTES = 1_048_576;
/** How long `/kill` waits for the end after SIGKILL. */
const KILLED_MS = 2_000;

/** The fork's environment variables, whole seconds; anything else leaves the default, as there. */
export function osdcTimes(env: Readonly<Record<string, string>>): OsdcTimes {
  const seconds = (name: string, fallback: number) =>
    /^\+?\d{1,9}$/.test(env[name] ?? "") ? Number(env[name]) * 1000 : fallback;
  return {
    killGraceMs: seconds("RPC_KILL_GRACE_SECS", 5_000),
    heartbeatTimeoutMs: seconds("RPC_HEARTBEAT_TIMEOUT_SECS", 60_000),
    watchdogTickMs: seconds("RPC_WATCHDOG_TICK_SECS", 5_000),
  };
}

type Status = "idle" | "starting" | "running" | "killing" | "completed" | "failed";

/** Answers requests; disposing ends the watchdog, not the job. */
export class OsdcFace implements Disposable {
  readonly #options: OsdcOptions;
  readonly #watchdog: ReturnType<typeof setInterval>;
  #status: Status = "idle";
  #id: string | undefined;
  #exitCode: number | undefined;
  #job: OsdcJob | undefined;
  #result: Result | undefined;
  #heartbeatMs: number | undefined;
  /** Who asks again meanwhile gets the same answer. */
  #starting: { id: string; reply: Promise<Reply> } | undefined;

  constructor(options: OsdcOptions) {
    this.#options = options;
    const { watchdogTickMs } = options.times;
    this.#watchdog = setInterval(() => this.#watch(), Math.max(watchdogTickMs, 100));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#watchdog);
  }

  /** Answers one request. */
  async handle(request: Request): Promise<Response> {
    const url = request.url.slice(request.url.indexOf("/", "http://".length));
    const path = url.split("?", 1)[0]!;
    const route = `${request.method} ${path}`;
    if (route === "GET /health") return json(200, '{"status":"ok"}');
    if (!this.#options.isToken(request.headers.get("x-auth-token") ?? "")) return empty(403);
    switch (route) {
      case "GET /status":
        return this.#answerStatus();
      case "GET /logs":
        return await this.#answerLogs(url);
      case "POST /exec":
        return await this.#exec(request);
      case "POST /kill":
        await this.kill();
        return this.#answerStatus();
      case "POST /heartbeat":
        this.#heartbeatMs = performance.now();
        return json(200, '{"status":"ok"}');
      case "GET /davit/result":
        return json(200, JSON.stringify(this.#result ?? null));
      default:
        return empty(404);
    }
  }

  /** Ends the running job: SIGTERM, the grace, SIGKILL. Resolves when it has ended, or 2 s after SIGKILL. */
  async kill(): Promise<void> {
    const job = this.#job;
    if (job === undefined || this.#exitCode !== undefined) return;
    const { killGraceMs } = this.#options.times;
    this.#status = "killing";
    job.signal("TERM");
    if (await endsWithin(job, killGraceMs)) return await this.#settled(job);
    job.signal("KILL");
    if (await endsWithin(job, KILLED_MS)) await this.#settled(job);
  }

  async #exec(request: Request): Promise<Response> {
    const body = await textOf(request);
    if (body === undefined) return json(400, '{"error":"read failed"}');
    const members = parseFlatObject(body);
    if (members === undefined) return json(400, '{"error":"invalid body"}');
    const [id, path] = [members.get("id"), members.get("path")];
    if (id === undefined || path === undefined) return json(400, '{"error":"missing id or path"}');

    if (this.#starting?.id === id) return reply(await this.#starting.reply);
    if (id === this.#id) return reply(accepted(id));
    if (["running", "starting", "killing"].includes(this.#status)) {
      return json(409, '{"error":"A job is already running"}');
    }
    try {
      this.#starting = { id, reply: this.#start(id, path) };
      return reply(await this.#starting.reply);
    } finally {
      this.#starting = undefined;
    }
  }

  async #start(id: string, path: string): Promise<Reply> {
    const before = this.#status;
    this.#status = "starting";
    try {
      const job = await this.#options.start(path);
      this.#job?.release();
      this.#begin(id, job);
      return accepted(id);
    } catch (error) {
      this.#status = before;
      this.#options.log.error("cannot start a job", { id, why: messageOf(error) });
      return { status: 500, body: `{"error":${quoteFlat(messageOf(error))}}` };
    }
  }

  #begin(id: string, job: OsdcJob): void {
    this.#id = id;
    this.#job = job;
    this.#status = "running";
    this.#exitCode = undefined;
    this.#result = undefined;
    this.#heartbeatMs = performance.now();
    void this.#settled(job);
  }

  async #settled(job: OsdcJob): Promise<void> {
    const result = await job.ended;
    if (job !== this.#job) return;
    // The fork has no 128+n: a signal is its negated number.
    this.#exitCode = result.signal === null ? result.code : 128 - result.code;
    this.#status = this.#exitCode === 0 ? "completed" : "failed";
    this.#result = { ...result, id: this.#id! };
  }

  #answerStatus(): Response {
    const id = this.#id === undefined ? "null" : quoteFlat(this.#id);
    return json(200, `{"id":${id},"status":"${this.#status}","exit_code":${this.#exitCode ?? null}}`);
  }

  async #answerLogs(url: string): Promise<Response> {
    const [stream, offset] = [queryValue(url, "stream"), queryValue(url, "offset") ?? ""];
    const { bytes, more } = await this.#job?.read(
      stream === "stderr" ? "stderr" : "stdout",
      /^\+?\d{1,15}$/.test(offset) ? Number(offset) : 0,
      LOGS_LIMIT_BYTES,
    ) ?? { bytes: new Uint8Array(), more: false };
    return new Response(bytes as Uint8Array<ArrayBuffer>, {
      headers: { "content-type": "application/octet-stream", "x-more-data": String(more) },
    });
  }

  #watch(): void {
    const { heartbeatTimeoutMs } = this.#options.times;
    if (this.#heartbeatMs === undefined || performance.now() - this.#heartbeatMs <= heartbeatTimeoutMs) {
      return;
    }
    this.#heartbeatMs = undefined;
    if (this.#job === undefined || this.#exitCode !== undefined) return;
    this.#options.log.warn("no heartbeat, killing the job", {
      seconds: heartbeatTimeoutMs / 1000,
      id: this.#id,
    });
    void this.kill();
  }
}

function accepted(id: string): Reply {
  return { status: 200, body: `{"id":${quoteFlat(id)},"status":"running"}` };
}

async function endsWithin(job: OsdcJob, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), ms));
  const ended = await Promise.race([job.ended.then(() => true), late]);
  clearTimeout(timer);
  return ended;
}
