/**
 * Runs a command in the containers of all hosts, or some. Nothing runs anywhere before all hosts are known and
 * each has a container that may be used; the lock is held shared meanwhile, so that nobody removes it underneath.
 *
 * @module
 */
import { EXIT, Failure, messageOf } from "../failure.ts";
import type { ExecEnd } from "./host_methods.ts";
import { targetOf } from "./gather.ts";
import type { HostLink, Hosts } from "./hosts.ts";
import { lockShared } from "./locks.ts";
import { whyUnknown } from "./outcomes.ts";
import { rankEnv } from "./rank_env.ts";
import type { ContainerSpec } from "./spec.ts";
import { usableContainers, type UseOptions } from "./usable.ts";

/** What is to run, and how. */
export interface ExecOptions extends UseOptions {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workdir?: string | undefined;
  readonly user?: string | undefined;
  readonly tty: boolean;
  /** Bytes for the command's standard input; without them it is at its end. */
  readonly input?: AsyncIterable<Uint8Array> | undefined;
  /** Messages for each host's command: `{ signal }`, `{ columns, rows }`. */
  readonly messages: () => AsyncIterable<unknown>;
  /** Ends it inside the container after so long; exit 124. */
  readonly timeoutMs?: number | undefined;
  readonly graceMs: number;
  /** Adds RANK and its kin, and runs on all hosts at once whatever their number: ranks wait for each other. */
  readonly hasRankEnv: boolean;
  /** The first host that fails ends the others. */
  readonly isFailFast: boolean;
  readonly lockWaitMs: number;
  readonly owner: string;
  readonly signal: AbortSignal;
  /** A promise that is not settled holds the command's output back. */
  readonly onOutput: (host: string, channel: number, bytes: Uint8Array) => void | Promise<void>;
  /** Told once per host, when its output is complete. */
  readonly onEnd?: (result: ExecHost) => void | Promise<void>;
}

/** How it ended on one host. */
export interface ExecHost {
  readonly host: string;
  /** The command's own; 128 and the signal's number where one ended it; null: `error` says why it is not known. */
  readonly code: number | null;
  readonly timedOut: boolean;
  readonly durationMs: number;
  readonly error?: string;
  /** What this host contributes to the exit status: its code, 124 where it took too long, 4 where it is unknown. */
  readonly status: number;
}

/** Runs it; results are in the order of hosts. Throws where it ran nowhere, or the signal was aborted. */
export async function execOnHosts(
  hosts: Hosts,
  spec: ContainerSpec,
  options: ExecOptions,
): Promise<ExecHost[]> {
  const { signal, isFailFast, hasRankEnv, onEnd } = options;
  const keep = hasRankEnv || hosts.fitAtOnce;
  const containers = await usableContainers(hosts, spec, options, { keep });
  const names = [...containers.keys()];
  const failed = new AbortController();
  const outcomes = await hosts.each(async (host) => {
    const begun = performance.now();
    try {
      const id = containers.get(host.name)!;
      const env = hasRankEnv ? { ...rankEnv(spec.hosts, names, host.name), ...options.env } : options.env;
      const { code, timedOut } = await execOne(host, id, spec, { ...options, env });
      const durationMs = Math.round(performance.now() - begun);
      const status = timedOut ? EXIT_TIMED_OUT : code;
      const result = { host: host.name, code, timedOut, durationMs, status };
      await onEnd?.(result);
      if (isFailFast && status !== 0) failed.abort(stopped(host.name));
      return result;
    } catch (error) {
      if (isFailFast) failed.abort(stopped(host.name));
      throw error;
    }
  }, {
    ...{ names, keep },
    signal: AbortSignal.any([signal, failed.signal]),
    ...hasRankEnv && { parallel: names.length },
  });
  signal.throwIfAborted();
  const results: ExecHost[] = [];
  for (const [host, outcome] of outcomes) {
    if (!outcome.isDone) await onEnd?.(unfinished(host, outcome.error));
    results.push(outcome.isDone ? outcome.value : unfinished(host, outcome.error));
  }
  return results;
}

/** What `timeout(1)` exits with. */
const EXIT_TIMED_OUT = 124;
/** How long the end of a command may take beyond its bound and grace. */
const ANSWER_MS = 30_000;

async function execOne(
  host: HostLink,
  id: string,
  spec: ContainerSpec,
  options: ExecOptions,
): Promise<ExecEnd> {
  const { argv, env, workdir, user, tty, input, timeoutMs, graceMs } = options;
  await lockShared(host, spec.name, options);
  const params = {
    ...targetOf(spec),
    ...{ id, argv, env, tty, stdin: input !== undefined, graceMs },
    ...workdir !== undefined && { workdir },
    ...user !== undefined && { user },
    ...timeoutMs !== undefined && { timeoutMs },
  };
  return await host.call("exec", params, {
    timeoutMs: timeoutMs === undefined ? Infinity : timeoutMs + graceMs + ANSWER_MS,
    ...input !== undefined && { input },
    messages: options.messages(),
    onBytes: (channel, bytes) => options.onOutput(host.name, channel, bytes),
  });
}

/** The exit status of the whole: any unknown host makes it 4, the same everywhere is passed on, else 5. */
export function exitStatusOf(results: readonly ExecHost[]): number {
  const [first] = results;
  if (results.some(({ code, status }) => code === null && status === EXIT.UNKNOWN)) return EXIT.UNKNOWN;
  return results.every(({ status }) => status === first!.status) ? first!.status : EXIT.PARTIAL;
}

function unfinished(host: string, error: unknown): ExecHost {
  if (!(error instanceof Failure)) throw error;
  const status = whyUnknown(error) === undefined ? error.exitStatus : EXIT.UNKNOWN;
  return { host, code: null, timedOut: false, durationMs: 0, status, error: messageOf(error) };
}

function stopped(host: string): Failure {
  return new Failure("PARTIAL", `stopped, because it failed on ${host}`, { code: "fail_fast" });
}
