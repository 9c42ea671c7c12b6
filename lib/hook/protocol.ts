/**
 * What a hook server and its clients say to each other: HTTP/1.1 over a unix socket or TCP.
 *
 * All but `/health` and `/metrics` want `Authorization: Bearer TOKEN`, else 401. An error is
 * `{"error":{"code","message","hint"?}}`. Ids are as {@linkcode ID_REGEXP} says, else 400; a body over
 * {@linkcode BODY_LIMIT_BYTES} is 413.
 *
 * - `GET /health` 200 {@linkcode Health}
 * - `GET /metrics` 200 Prometheus text
 * - `GET /status` 200 {@linkcode ServerStatus}
 * - `PUT /v1/jobs/ID` with a {@linkcode JobSpec}: 201 {@linkcode JobStatus}, started; 200, known already, nothing is
 *   started; 409 `busy` with `{"running":{"id","status","age_ms"}}`; 410 `forgotten`, ran too long ago; 400 `bad_spec`
 * - `GET /v1/jobs/ID` 200 {@linkcode JobStatus}
 * - `GET /v1/jobs/ID/stream?from=N` 200 frames with a number above N, until the end frame; 410 `released` with
 *   `first_seq` where frames after N are not kept any more. A stream that ends without an end frame is asked for again.
 * - `POST /v1/jobs/ID/ack` with `{"seq":N}`: 200, frames up to N may be forgotten
 * - `POST /v1/jobs/ID/input?offset=N[&end=1]` with bytes of the job's input from byte N on, where its spec says
 *   `"stdin":"pipe"`: 200 {@linkcode InputState}; the same bytes may be sent again
 * - `POST /v1/jobs/ID/kill` with `{"signal"?:"INT|TERM|KILL"}`: 202. Without a signal the escalation of the job's
 *   `kill` begins, whoever goes away; with one, that goes to the whole tree once.
 *
 * A frame: u8 kind, three zero bytes, u32 little-endian payload length, u64 little-endian number, payload. Numbers
 * begin at 1 and have no gaps; a keepalive has number 0. A notice's payload is a text in UTF-8 for the step's stderr,
 * without a newline at its end; an end's payload is the {@linkcode Result} in JSON.
 *
 * An authenticated request and an open stream are contact. Without any for `--lease` a running job is ended.
 *
 * @module
 */

/** Kinds of frames. */
export const FRAME = { stdout: 1, stderr: 2, notice: 3, end: 4, keepalive: 5 } as const;

/** One of them. */
export type FrameKind = typeof FRAME[keyof typeof FRAME];

/** Before each payload. */
export const FRAME_HEADER_BYTES = 16;
/** No payload is larger. */
export const FRAME_PAYLOAD_MAX_BYTES = 1 << 20;
/** A stream is never silent for longer. */
export const KEEPALIVE_MS = 5_000;
/** No request's body is larger. */
export const BODY_LIMIT_BYTES = 8 << 20;
/** A job's id: it is shown in logs, and is a variable's value in the job. */
export const ID_REGEXP = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Signals that can be asked for. */
export const KILL_SIGNALS = ["INT", "TERM", "KILL"] as const;

/** One of them. */
export type KillSignal = typeof KILL_SIGNALS[number];

/** When each signal of an escalation is sent, from its begin. */
export interface KillTimes {
  readonly int_ms: number;
  readonly term_ms: number;
  readonly kill_ms: number;
}

/** Those at which GitHub's runner ends a hook (ProcessInvoker.cs). */
export const KILL_TIMES: KillTimes = { int_ms: 0, term_ms: 7_500, kill_ms: 10_000 };

/** How long a child in the background may hold the step's output; the runner's own time. */
export const BACKGROUND_GRACE_MS = 5_000;

/** What to run, and how. */
export type JobSpec = JobProgram & JobOptions;

/** A command line, run without a shell; or a file: itself where it is executable with `#!`, else `sh -e FILE`. */
export type JobProgram = { readonly argv: readonly string[] } | { readonly script: string };

/** The rest of it. */
export interface JobOptions {
  /** Added to the server's environment; null takes a variable away. */
  readonly env?: Readonly<Record<string, string | null>>;
  readonly cwd?: string;
  /** Directories put before the job's PATH, the first one first. */
  readonly prepend_path?: readonly string[];
  /** `pipe`: what comes by `POST …/input`; without it the input is empty. */
  readonly stdin?: "null" | "pipe";
  readonly kill?: Partial<KillTimes>;
  readonly background_grace_ms?: number;
}

/** Where a job is. */
export interface JobStatus {
  readonly id: string;
  readonly status: "running" | "killing" | "ended";
  /** Since the epoch. */
  readonly started_ms: number;
  readonly age_ms: number;
  readonly last_seq: number;
  readonly acked_seq: number;
  readonly result?: Result;
}

/** Why a job ended. */
export type Cause =
  | "exit"
  | "signal"
  | "oom"
  | "killed_by_request"
  | "lease_lost"
  | "server_stopped"
  | "spawn_failed"
  | "timeout";

/** Whose doing a failure was, as far as that can be told; `none` where there is none. */
export type Fault = "none" | "script" | "infra" | "unknown";

/** A process that outlived its step. */
export interface Survivor {
  readonly pid: number;
  readonly name: string;
}

/** How a job ended. */
export interface Result {
  readonly schema: 1;
  readonly id: string;
  /** The job's own, or 128 and the signal's number. */
  readonly code: number;
  readonly signal: string | null;
  readonly cause: Cause;
  readonly fault: Fault;
  /** Sentences without a final period. */
  readonly evidence: readonly string[];
  /** ISO 8601. */
  readonly started: string;
  readonly ended: string;
  readonly wall_ms: number;
  /** CPU time of the job and of the children that it waited for; null where the kernel did not tell. */
  readonly user_ms: number | null;
  readonly system_ms: number | null;
  /** Of its largest process. */
  readonly max_rss_kb: number | null;
  readonly stdout_bytes: number;
  readonly stderr_bytes: number;
  /** Output that nobody got. */
  readonly dropped_bytes: number;
  readonly survivors: readonly Survivor[];
  /** Where its output was kept; empty where no directory could be used and it was kept in memory. */
  readonly rpc_dir: string;
  readonly notices: readonly string[];
}

/** Whether the server is there, and which. */
export interface Health {
  readonly status: "ok";
  readonly version: string;
  /** Random: another one is another server, that knows nothing of this one's jobs. */
  readonly instance: string;
}

/** What a server says of itself. */
export interface ServerStatus {
  readonly version: string;
  readonly instance: string;
  readonly pid: number;
  readonly uptime_ms: number;
  readonly rpc_dir: string;
  readonly job: JobStatus | null;
  /** The last 32, oldest first. */
  readonly recent: readonly JobStatus[];
  readonly notices: readonly string[];
}
