/**
 * `image import`: any number of processes on any number of hosts ask for one file; one of them makes it, nobody
 * ever sees half of it, and a good file is never lost. Correctness comes from unique temp files, checks, fsync
 * and rename; the lock only saves work.
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { tryLock } from "../host/flock.ts";
import { hasHolderStatus, removeHolderStatus } from "../host/holder_status.ts";
import type { Log } from "../host/log.ts";
import { lockScopeOf, mountOf, readMounts } from "../host/mounts.ts";
import { splitPath } from "../host/publish.ts";
import { takeTurn, type Wait } from "../host/single_flight.ts";
import type { OpenEngine } from "./engine.ts";
import { type Found, judgeExisting, type Wanted } from "./existing.ts";
import type { ImportOptions } from "./import_options.ts";
import { makeImage, tidy } from "./make.ts";
import { privateTarget } from "./private.ts";
import { locateTarget, type Target } from "./target.ts";

/** The final object of `--json`; seconds. Schema 1 only ever grows. */
export interface ImportResult {
  readonly schema: 1;
  readonly result: "hit" | "waited" | "imported";
  /** The path to use. With a private import it is not the one asked for. */
  readonly output: string;
  readonly uri: string;
  readonly digest: string | null;
  readonly sha256: string | null;
  readonly bytes: number;
  readonly wait_s: number;
  readonly import_s: number;
  readonly phases: Record<string, number>;
  /** How often the work was begun: 2 after a damaged layer or a lost temp file; 0 when there was nothing to do. */
  readonly attempts: number;
  readonly lock: {
    mode: "flock" | "none" | "unused";
    scope: string;
    waited_for: { host: string; job: string | null } | null;
  };
  readonly warnings: readonly string[];
}

/** Imports, waits for somebody else's import, or finds the image already there. */
export async function importImage(options: ImportOptions): Promise<ImportResult> {
  const warnings: string[] = [];
  const log = collectingLog(options.log, warnings);
  const target = await locateTarget(options.output, options);
  try {
    return await importTo(target, { ...options, log }, warnings);
  } catch (error) {
    const gaveUp = error instanceof Failure && error.code === "lock_timeout";
    if (!gaveUp || options.onLockTimeout === "fail") throw error;
    log.warn("taking a private copy instead of waiting", { reason: error.message });
    const place = await privateTarget(options.privateDir, target.name, options.identity.uid);
    const own = { ...options, log, lockFile: undefined, onLockTimeout: "fail" as const };
    return await importTo(place, own, warnings);
  }
}

function collectingLog(log: Log, warnings: string[]): Log {
  return {
    ...log,
    warn(message, fields) {
      warnings.push(message);
      log.warn(message, fields);
    },
  };
}

async function importTo(target: Target, given: ImportOptions, warnings: string[]): Promise<ImportResult> {
  const { activity, log } = given;
  // What it does is the work that ends with the Slurm job: downloads and packing, too.
  await using engine = new LazyEngine({ ...given, signal: given.workSignal });
  const wanted = await wantedImage(given, engine, target);
  const base = { target, options: given, warnings };

  const lockPath = given.lockFile ?? `${target.named}.lock`;
  const statusPath = statusPathOf(lockPath);
  const there = await judgeExisting(target.path, wanted, given);
  if (there.state === "usable") {
    if (await hasHolderStatus(statusPath)) await tidyAfterDeath(target, { ...given, lockPath, statusPath });
    return report(base, "hit", there.found);
  }

  const options = { ...given, signal: given.workSignal };
  const { signal } = options;
  const scope = await lockReach(target, log);
  const flight = await takeTurn({
    lockPath,
    statusPath,
    identity: options.identity,
    lockTimeoutMs: options.lockTimeoutMs,
    maxWaitMs: options.maxWaitMs,
    find: async () => {
      const seen = await judgeExisting(target.path, wanted, { signal, log });
      return seen.state === "usable" ? seen.found : undefined;
    },
    foreignProgress: () => sizeAndTime(target.path),
    activity,
    signal,
    log,
  });
  if (flight.kind === "found") return report({ ...base, wait: flight.wait, scope }, "waited", flight.value);
  try {
    const made = await makeImage(target, wanted, {
      ...options,
      engine,
      locked: flight.mode === "flock",
    });
    const kind = made.kind === "imported" ? "imported" : flight.wait.holder ? "waited" : "hit";
    const { attempts } = made;
    return report({ ...base, wait: flight.wait, scope, mode: flight.mode, attempts }, kind, made.found);
  } finally {
    await flight.release();
  }
}

function statusPathOf(lockPath: string): string {
  const { directory, name } = splitPath(lockPath.startsWith("/") ? lockPath : `${Deno.cwd()}/${lockPath}`);
  return `${directory}/.${name}.holder`;
}

/** A holder that was killed after publishing left a status file; unless it lives, what it left goes. */
async function tidyAfterDeath(
  target: Target,
  options: ImportOptions & { readonly lockPath: string; readonly statusPath: string },
): Promise<void> {
  const { lockPath, statusPath, log } = options;
  try {
    const got = await tryLock(lockPath);
    if (got.kind !== "held") return;
    using _lock = got.lock;
    await tidy(target, options);
    await removeHolderStatus(statusPath, log);
  } catch (error) {
    // The image is good: whoever may tidy will.
    if (!(error instanceof Failure)) throw error;
    log.debug("cannot tidy up after a dead process", { reason: error.message });
  }
}

/** With `--freshness tag` one request asks what the reference means now; no answer must not cost a good image. */
async function wantedImage(options: ImportOptions, engine: LazyEngine, target: Target): Promise<Wanted> {
  const { uri, platform, pinnedDigest, freshness, log, signal } = options;
  const wanted = { uri, platform, pinnedDigest };
  if (freshness === "missing" || pinnedDigest !== undefined) return wanted;
  try {
    return { ...wanted, referenceDigest: await (await engine.open()).currentDigest() };
  } catch (error) {
    signal.throwIfAborted();
    const there = await judgeExisting(target.path, wanted, { signal, log });
    if (there.state !== "usable" || !(error instanceof Failure)) throw error;
    log.warn("cannot ask whether the tag moved, using the image that is there", { reason: messageOf(error) });
    return wanted;
  }
}

async function lockReach({ directory }: Target, log: Log): Promise<string> {
  try {
    const mount = mountOf(directory, await readMounts());
    if (mount === undefined) return "unknown";
    const { reach, reason, isSoft } = lockScopeOf(mount);
    if (reach === "node") {
      log.warn(`locks reach only this node (${reason}): another node may do the same import`, { directory });
    }
    if (isSoft) {
      log.warn("this filesystem is mounted soft: its calls may fail instead of waiting", { directory });
    }
    return reach;
  } catch (error) {
    log.debug("cannot tell how far locks reach", { reason: messageOf(error) });
    return "unknown";
  }
}

/** An old script's enroot writes the target in place: its growth is the only progress to be seen. */
async function sizeAndTime(path: string): Promise<string> {
  try {
    const { size, mtime } = await Deno.stat(path);
    return `${size} ${mtime?.getTime()}`;
  } catch {
    return "absent"; // only used to see a change
  }
}

/** Opens the engine at its first use and closes it if it was opened. */
export class LazyEngine implements AsyncDisposable {
  readonly #options: ImportOptions;
  #opened: ReturnType<OpenEngine> | undefined;

  constructor(options: ImportOptions) {
    this.#options = options;
  }

  open(): ReturnType<OpenEngine> {
    return this.#opened ??= this.#options.openEngine(this.#options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A failed opening was thrown where it was awaited.
    const engine = await this.#opened?.catch(() => undefined);
    await engine?.[Symbol.asyncDispose]();
  }
}

interface Report {
  readonly target: Target;
  readonly options: ImportOptions;
  readonly warnings: readonly string[];
  readonly wait?: Wait;
  readonly scope?: string;
  readonly mode?: "flock" | "none";
  readonly attempts?: number;
}

function report(
  { target, options, warnings, wait, scope, mode, attempts = 0 }: Report,
  result: ImportResult["result"],
  { sizeBytes, digest, sha256 }: Found,
): ImportResult {
  options.activity.begin("done");
  const phases = [...options.activity.durationsMs].filter(([phase]) => phase !== "wait");
  return {
    schema: 1,
    result,
    output: target.named,
    uri: options.uri,
    digest: digest ?? null,
    sha256: sha256 ?? null,
    bytes: sizeBytes,
    wait_s: seconds(wait?.waitedMs ?? 0),
    import_s: seconds(phases.reduce((sum, [, ms]) => sum + ms, 0)),
    phases: Object.fromEntries(phases.map(([phase, ms]) => [phase, seconds(ms)])),
    attempts,
    lock: {
      mode: mode ?? (wait ? "flock" : "unused"),
      scope: scope ?? "unknown",
      waited_for: wait?.holder ? { host: wait.holder.host, job: wait.holder.job ?? null } : null,
    },
    warnings,
  };
}

function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}
