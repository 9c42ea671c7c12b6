/**
 * Signals the processes of one exec by whatever way works on this host, and ends them for certain.
 *
 * @module
 */
import { Failure, messageOf } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";
import type { Log } from "../../host/log.ts";
import { type Cli, textOf } from "./cli.ts";
import { inspectContainer } from "./inspect.ts";
import { pause } from "./lifecycle.ts";
import { MARKED_SCRIPT, type Scope, signalMarked } from "./marked_processes.ts";

const POLL_MS = 100;
/** How long a process may take to go after SIGKILL; one in uninterruptible sleep does not go. */
const KILL_MS = 10_000;
/** An exec that was on its way when its client was killed may still appear. */
const LATE_MS = 1_000;
const never = new AbortController().signal;

/** The processes of one exec. */
export class InsideProcesses {
  readonly #cli: Cli;
  readonly #id: string;
  readonly #mark: string;
  readonly #log: Log;

  constructor(cli: Cli, { id, mark, log }: { id: string; mark: string; log: Log }) {
    this.#cli = cli;
    this.#id = id;
    this.#mark = mark;
    this.#log = log;
  }

  /** Sends a signal and gives how many processes live; null asks only. Undefined: there is no way to tell. */
  async signal(signal: Deno.Signal | null, scope: Scope): Promise<number | undefined> {
    this.#areOurs ??= this.#areInOurProc();
    if (await this.#areOurs) return signalMarked(this.#mark, signal, scope);
    return await this.#byScript(signal, scope);
  }
  #areOurs: Promise<boolean> | undefined;

  /** Whether this host's /proc shows the container's processes, and shows them to us. */
  async #areInOurProc(): Promise<boolean> {
    const { runtime, isSudo, env } = this.#cli;
    // podman without a service is on this machine, and its processes are the user's own.
    if (runtime.hasUserStore && !isSudo && env.CONTAINER_HOST === undefined) return true;
    if (Deno.uid() !== 0) return false;
    const found = await inspectContainer(this.#cli, this.#id, never);
    if (found === null || found.pid === 0) return true; // it has none any more
    try {
      // A daemon may be on another machine, or we in a container: then that number is another process's.
      return (await Deno.readTextFile(`/proc/${found.pid}/cgroup`)).includes(this.#id);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return false;
    }
  }

  async #byScript(signal: Deno.Signal | null, scope: Scope): Promise<number | undefined> {
    const script = ["-c", MARKED_SCRIPT, "davit", this.#mark, signal?.slice("SIG".length) ?? "", scope];
    const end = await this.#cli.run(["exec", "--user=0", this.#id, "sh", ...script], { signal: never });
    const count = /^\d+$/m.exec(textOf(end))?.[0];
    if (end.code === 0 && count !== undefined) return Number(count);
    if (/is not running|no such container|container state improper|is paused/i.test(end.stderr)) return 0;
    if (!this.#cli.isSudo) return undefined; // no shell in the image
    const { success, stdout } = await new Deno.Command("sudo", {
      args: ["-n", "--", "sh", ...script],
      clearEnv: true,
      env: this.#cli.env,
      stdin: "null",
      stderr: "null",
    }).output();
    const text = new TextDecoder().decode(stdout).trim();
    return success && /^\d+$/.test(text) ? Number(text) : undefined;
  }

  /**
   * Ends them: TERM, KILL after `graceMs`. Resolves when none is left, which is looked for until `isClientGone` and a
   * moment longer. Throws a Failure when some stay.
   */
  async end(graceMs: number, isClientGone: () => boolean, killClient: () => void): Promise<void> {
    await this.signal("SIGTERM", "all");
    // A stopped process does not act on TERM until it goes on.
    if (await this.#waitForNone(graceMs, "SIGCONT", isClientGone)) return;
    const left = await this.signal("SIGKILL", "all");
    killClient();
    if (left === undefined) throw cannotTell();
    if (await this.#waitForNone(KILL_MS, "SIGKILL", isClientGone)) return;
    throw new Failure(
      "UNAVAILABLE",
      `Cannot end what was started in the container: it is still there after SIGKILL`,
      {
        code: "not_ended",
        hint: "it may wait for a device or a network filesystem",
      },
    );
  }

  #isSeen = false;
  async #waitForNone(timeoutMs: number, again: Deno.Signal, isClientGone: () => boolean): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    let goneAt: number | undefined;
    for (;;) {
      const count = await this.#tryAgain(again);
      if (count) this.#isSeen = true;
      if (isClientGone()) goneAt ??= Date.now();
      if (count === 0 && goneAt !== undefined && Date.now() - goneAt >= (this.#isSeen ? 0 : LATE_MS)) {
        return true;
      }
      if (Date.now() >= deadline) return false;
      await pause(POLL_MS, never);
    }
  }

  async #tryAgain(signal: Deno.Signal): Promise<number | undefined> {
    try {
      return await this.signal(signal, "all");
    } catch (error) {
      this.#log.warn("cannot look for processes in the container", { reason: messageOf(error) });
      return undefined;
    }
  }
}

function cannotTell(): Failure {
  return new Failure(
    "UNAVAILABLE",
    `Cannot end what was started in the container: there is no way to see it`,
    {
      code: "not_ended",
      hint: "run davit as root there, or use an image with sh, grep and tr",
    },
  );
}
