/**
 * Starts, stops and removes containers, by id, and only those that are what the caller takes them for.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { callFailed, type Cli, lastWords } from "./cli.ts";
import { inspectContainer, type Inspected, isInherited } from "./inspect.ts";

/** A container that ends at once does so within this: it is looked at again after it. */
const STEADY_MS = 500;
const LOG_LINES = 20;
/** Beyond the grace that a program gets: the daemon's own work. */
const STOP_MARGIN_MS = 60_000;

/** The container with that id and name. Throws a Failure when there is none. */
export async function mustFind(
  cli: Cli,
  { id, name }: { id: string; name: string },
  signal: AbortSignal,
): Promise<Inspected> {
  const found = await inspectContainer(cli, id, signal);
  if (found?.name === name) return found;
  throw new Failure(
    "UNAVAILABLE",
    `Cannot use container "${name}": ${id.slice(0, 12)} is not on this host any more`,
    {
      code: "no_such_container",
      hint: "somebody removed or replaced it meanwhile; try again",
    },
  );
}

/** Starts or unpauses it; resolves when it runs and still does a moment later. */
export async function startContainer(
  cli: Cli,
  target: { id: string; name: string },
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<Inspected> {
  const { id, name } = target;
  const before = await mustFind(cli, target, signal);
  const call = { signal, timeoutMs };
  if (before.status === "running") return before;
  if (before.status === "paused") {
    await cli.must(["unpause", id], `unpause container "${name}"`, call);
  } else {
    const end = await cli.run(["start", id], call);
    if (end.code !== 0) throw await startFailed(cli, target, lastWords(end.stderr), signal);
  }
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    await pause(STEADY_MS, signal);
    const found = await mustFind(cli, target, signal);
    // With a restart policy it may run again and again. docker counts anew at each start, podman goes on.
    const isRestarting = found.restarts !== 0 && found.restarts !== before.restarts;
    if (found.status === "running" && !isRestarting) return found;
    if (found.status === "exited" || found.status === "dead" || isRestarting) {
      throw await startFailed(cli, target, `it ended at once, with status ${found.exitCode}`, signal);
    }
    if (Date.now() > deadline) {
      throw await startFailed(cli, target, `it did not run within ${timeoutMs} ms`, signal);
    }
  }
}

async function startFailed(
  cli: Cli,
  { id, name }: { id: string; name: string },
  why: string,
  signal: AbortSignal,
): Promise<Failure> {
  const found = await inspectContainer(cli, id, signal);
  const logs = await cli.run(["logs", `--tail=${LOG_LINES}`, id], { signal });
  const log = lastWords(
    `${new TextDecoder().decode(logs.stdout)}\n${logs.code === 0 ? logs.stderr : ""}`,
    LOG_LINES,
  );
  const error = found?.error || why;
  const isMissing = /executable file not found|no such file or directory/.test(error) &&
    /exec|stat/.test(error);
  return new Failure(
    "UNAVAILABLE",
    `Cannot start container "${name}": ${error}${error === why ? "" : ` (${why})`}${
      log === "" ? "" : `; its log ends: ${log}`
    }`,
    isMissing
      ? {
        code: "no_command",
        hint: `the image has no such program; give one that stays, as command: ["tail", "-f", "/dev/null"]`,
      }
      : { code: "start_failed", hint: "`davit container logs` shows all of it" },
  );
}

/** Stops it: TERM, after the grace KILL. One that does not run is left as it is. */
export async function stopContainer(
  cli: Cli,
  target: { id: string; name: string },
  { graceMs, signal }: { graceMs: number; signal: AbortSignal },
): Promise<void> {
  const { id, name } = target;
  const before = await mustFind(cli, target, signal);
  const call = { signal, timeoutMs: graceMs + STOP_MARGIN_MS };
  // podman refuses to stop a paused one; and TERM would reach nobody.
  if (before.status === "paused") await cli.must(["unpause", id], `unpause container "${name}"`, call);
  if (before.status === "created") return;
  await cli.must(["stop", `-t${Math.ceil(graceMs / 1000)}`, id], `stop container "${name}"`, call);
}

/** Removes it with its anonymous volumes if its labels have that generation. False: it is gone already. */
export async function removeContainer(
  cli: Cli,
  { id, name, generation }: { id: string; name: string; generation: string },
  signal: AbortSignal,
): Promise<boolean> {
  const found = await inspectContainer(cli, id, signal);
  if (found === null) return false;
  const isOurs = found.name === name && found.labels?.generation === generation &&
    !await isInherited(cli, found, signal);
  if (!isOurs) {
    throw new Failure(
      "REFUSED",
      `Cannot remove container "${name}": ${id.slice(0, 12)} is not of this generation`,
      {
        code: "foreign",
        hint: "davit removes only what it made; remove it by hand if it is not wanted",
      },
    );
  }
  const words = ["rm", "--force", "--volumes", ...cli.runtime.removeFlags, id];
  const end = await cli.run(words, { signal, timeoutMs: STOP_MARGIN_MS });
  // Removed by another call between the look and now, or being so.
  if (end.code !== 0 && !/no such container|no container with|is already in progress/i.test(end.stderr)) {
    throw callFailed(`remove container "${name}"`, end);
  }
  return true;
}

/** Resolves after `ms`; rejects when the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort);
  await promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  });
}
