/**
 * A hook server with all that belongs to it, from its start to the signal that ends it.
 *
 * @module
 */
import { libc } from "../host/libc.ts";
import type { Log } from "../host/log.ts";
import { MemoryBound } from "../host/memory_bound.ts";
import { OrphanReaper } from "../host/orphans.ts";
import { tokenCheck } from "./auth.ts";
import { Jobs } from "./jobs.ts";
import { Lease } from "./lease.ts";
import { endLeftBehind, formatMark } from "./left_behind.ts";
import { type Handler, type Listening, listenTcp, listenUnix } from "./listen.ts";
import { Metrics } from "./metrics.ts";
import { OomScore } from "./oom_score.ts";
import { OomWatch } from "./oom_watch.ts";
import { OsdcFace, osdcTimes } from "./osdc.ts";
import { osdcStarter } from "./osdc_serve.ts";
import { readProcess } from "./processes.ts";
import type { RpcDir } from "./rpc_dir.ts";
import { HookServer } from "./server.ts";

/** What a server is started with. */
export interface ServeOptions {
  readonly socket?: { readonly path: string; readonly mode: number } | undefined;
  readonly listen?: { readonly hostname: string; readonly port: number } | undefined;
  readonly token: string;
  readonly rpcDir: RpcDir;
  readonly spoolMaxBytes: number;
  /** 0 = none. */
  readonly leaseMs: number;
  readonly compat: "osdc" | undefined;
  /** The server's environment, from which jobs get theirs. */
  readonly env: Readonly<Record<string, string>>;
  /** Calls back for each SIGCHLD and each signal that asks for an end. */
  readonly takeSignals: (handler: (name: Deno.Signal) => void) => void;
  /** Called once it listens. */
  readonly onListen: (listening: readonly Listening[]) => Promise<void>;
  readonly log: Log;
}

const PR_SET_CHILD_SUBREAPER = 36;
const PR_SET_DUMPABLE = 4;
/** How often it is looked whether a job cleared what we have in shared directories. */
const CHECK_MS = 1_000;
/** SIGCHLD is merged and may be missed; this finds the rest. */
const REAP_MS = 5_000;
const SPOOL_PATIENCE_MS = 10_000;
/** From SIGTERM to SIGKILL when the server is told to stop; container runtimes leave it ten seconds in all. */
const STOP_GRACE_MS = 5_000;
/** How long clients have to fetch the end of a job that ended with the server. */
const LAST_WORDS_MS = 2_000;
const NOTICES_KEPT = 32;
/** The server has 67 MB when it starts. */
const MEMORY_BYTES = 90 << 20;

/** Serves until a signal asks for an end; gives its name. Throws a Failure where it cannot begin. */
export async function serveHook(options: ServeOptions): Promise<Deno.Signal> {
  const { log, rpcDir, takeSignals, socket, listen } = options;
  const stopping = Promise.withResolvers<Deno.Signal>();
  const metrics = new Metrics();
  const known = new Set<number>();
  const reaper = new OrphanReaper(known);
  const reap = () => metrics.add("orphans_reaped_total", reaper.reap());
  let onSecond = () => {};
  let isStopping = false;
  takeSignals((name) => {
    if (name === "SIGCHLD") return reap();
    if (isStopping) return onSecond();
    isStopping = true;
    stopping.resolve(name);
  });

  const notices: string[] = [];
  const say = (text: string) => {
    notices.push(text);
    if (notices.length > NOTICES_KEPT) notices.shift();
  };
  // Before we are closed to /proc: afterwards this file is root's.
  const oomScore = new OomScore({ log, jobScore: options.compat === "osdc" ? 0 : undefined });
  const { isSubreaper } = closeToOthers(log);
  const place = placeOf(options);
  for (const text of await endLeftBehind({ place, log })) say(text);
  const first = rpcDir.openFile();
  first?.writer.close();
  first?.reader.close();
  for (const text of rpcDir.takeNotices()) say(text);

  const owner = { pid: Deno.pid, startTicks: readProcess(Deno.pid)?.startTicks ?? 0, place };
  const jobs = new Jobs({
    baseEnv: options.env,
    rpcDir,
    spoolMaxBytes: options.spoolMaxBytes,
    spoolPatienceMs: options.compat === "osdc" ? 0 : SPOOL_PATIENCE_MS,
    known,
    isSubreaper,
    oom: new OomWatch(),
    leaseMs: options.leaseMs,
    around: (spawn) => oomScore.around(spawn),
    markOf: (id) => formatMark(owner, id),
    log,
  }, metrics);
  using lease = new Lease({ leaseMs: options.leaseMs, onLost: () => jobs.end("lease_lost") });
  using face = makeFace(options, { jobs, lease, metrics, notices: () => notices });
  const listening: Listening[] = [
    ...socket === undefined ? [] : [await listenUnix(socket.path, { ...socket, handler: face.handler, log })],
    ...listen === undefined ? [] : [listenTcp(listen, face.handler)],
  ];

  const memory = new MemoryBound({ fromBytes: MEMORY_BYTES });
  async function check(): Promise<void> {
    rpcDir.check();
    await memory.check();
    const checked = await Promise.all(listening.map((one) => one.check()));
    const mended = checked.filter((text) => text !== undefined);
    for (const text of mended) log.warn(text);
    for (const text of [...rpcDir.takeNotices(), ...mended]) {
      say(text);
      jobs.running?.notice(text);
    }
  }
  const timers = [setInterval(() => void check(), CHECK_MS), setInterval(reap, REAP_MS)];
  try {
    await options.onListen(listening);
    const signal = await stopping.promise;
    log.info("the server was told to stop", { signal });
    const hasJob = jobs.running !== undefined;
    await face.stop(new Promise((resolve) => onSecond = () => resolve()));
    if (hasJob) await new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS));
    return signal;
  } finally {
    for (const timer of timers) clearInterval(timer);
    for (const one of listening) one.close();
  }
}

/** Where a server listens whose successor would be told so too; empty for a free port. */
function placeOf({ socket, listen }: ServeOptions): string {
  if (socket !== undefined) return `unix:${socket.path}`;
  return listen === undefined || listen.port === 0 ? "" : `${listen.hostname}:${listen.port}`;
}

/** Takes in orphans, and closes memory and environment to other processes of our user. */
function closeToOthers(log: Log): { isSubreaper: boolean } {
  const prctl = libc()?.prctl;
  const isSubreaper = prctl?.(PR_SET_CHILD_SUBREAPER, 1n, 0n, 0n, 0n) === 0;
  if (!isSubreaper) {
    log.warn("orphans of jobs do not come to this server: they are found by their environment");
  }
  if (prctl?.(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n) !== 0) {
    log.warn("memory of this server cannot be closed to other processes of its user");
  }
  return { isSubreaper };
}

interface Face extends Disposable {
  readonly handler: Handler;
  /** Ends the job that runs; `now` settles when that is to be at once. */
  stop(now: Promise<void>): Promise<void>;
}

interface FaceParts {
  readonly jobs: Jobs;
  readonly lease: Lease;
  readonly metrics: Metrics;
  readonly notices: () => readonly string[];
}

function makeFace(options: ServeOptions, parts: FaceParts): Face {
  const { jobs } = parts;
  const { log, rpcDir, env, compat } = options;
  const isToken = tokenCheck(options.token);
  const stop = async (now: Promise<void>) => {
    jobs.stop();
    const job = jobs.running;
    if (job === undefined) return;
    job.kill("TERM", "server_stopped");
    const timer = setTimeout(() => job.kill("KILL"), STOP_GRACE_MS);
    void now.then(() => job.kill("KILL"));
    await job.ended;
    clearTimeout(timer);
  };
  if (compat === "osdc") {
    const osdc = new OsdcFace({ isToken, start: osdcStarter(jobs), times: osdcTimes(env), log });
    return {
      handler: (request) => osdc.handle(request),
      stop: async (now) => {
        jobs.stop();
        await Promise.race([osdc.kill(), now]);
      },
      [Symbol.dispose]: () => osdc[Symbol.dispose](),
    };
  }
  const server = new HookServer({ ...parts, instance: crypto.randomUUID(), isToken, rpcDir, log });
  return { handler: (request) => server.handle(request), stop, [Symbol.dispose]() {} };
}
