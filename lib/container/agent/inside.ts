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
import { MARKED_SCRIPT, type Scope, type Seen, signalMarked } from "./marked_processes.ts";

const POLL_MS = 100;
/** How long a process may take to go after SIGKILL; one in uninterruptible sleep does not go. */
const KILL_MS = 10_000;
/** An exec that was on its way when its client was killed may still appear. */
const LATE_MS = 1_000;
/** What the script prints. */
const SCRIPT_REGEXP = /^(\d+)((?: \d+:\d+)*)$/m;
type Place = "inside" | "host";
/** Where they are looked for: /proc as we see it, the same as the root of our user namespace, or by the script. */
type Way = "proc" | "namespace" | "script";
const never = new AbortController().signal;

/** The processes of one exec. */
export class InsideProcesses {
  readonly #cli: Cli;
  readonly #id: string;
  readonly #mark: string;
  readonly #log: Log;
  readonly #seen: Seen = new Map();
  /** The same as the script tells it: by the container's own numbers, and by the host's. */
  readonly #told = { inside: new Set<string>(), host: new Set<string>() };

  constructor(cli: Cli, { id, mark, log }: { id: string; mark: string; log: Log }) {
    this.#cli = cli;
    this.#id = id;
    this.#mark = mark;
    this.#log = log;
  }

  /** Sends a signal and gives how many processes live; null asks only. Undefined: there is no way to tell. */
  async signal(signal: Deno.Signal | null, scope: Scope): Promise<number | undefined> {
    this.#way ??= this.#findWay();
    const way = await this.#way;
    const count = way === "namespace" ? await this.#inNamespace(signal, scope) : undefined;
    if (way === "script") return await this.#byScript(signal, scope);
    return count ?? signalMarked(this.#mark, signal, scope, { seen: this.#seen });
  }
  #way: Promise<Way> | undefined;

  async #findWay(): Promise<Way> {
    const { runtime, isSudo, env } = this.#cli;
    // podman without a service is on this machine, and its processes are the user's own.
    const areOwn = runtime.hasUserStore && !isSudo && env.CONTAINER_HOST === undefined;
    if (areOwn && Deno.uid() !== 0) return "namespace";
    return areOwn || await this.#areInOurProc() ? "proc" : "script";
  }

  /** Whether this host's /proc shows the container's processes, and shows them to us. */
  async #areInOurProc(): Promise<boolean> {
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

  #script(place: Place, signal: Deno.Signal | null, scope: Scope): string[] {
    const number = signal?.slice("SIG".length) ?? "";
    const words = ["sh", "-c", MARKED_SCRIPT, "davit", this.#mark, number, scope];
    return [...words, [...this.#told[place]].join(" ")];
  }

  /**
   * As the root of the user's own namespace: it may read what belongs to the container's other users, we may not (the
   * leader itself after `su`, or an exec with a user). Undefined where that namespace cannot be entered.
   */
  async #inNamespace(signal: Deno.Signal | null, scope: Scope): Promise<number | undefined> {
    const end = await this.#cli.run(["unshare", ...this.#script("host", signal, scope)], { signal: never });
    if (end.code === 0) return this.#note("host", textOf(end));
    this.#log.debug("cannot enter the user's namespace", { reason: end.stderr.trim().slice(-200) });
    return undefined;
  }

  async #byScript(signal: Deno.Signal | null, scope: Scope): Promise<number | undefined> {
    const words = ["exec", "--user=0", this.#id, ...this.#script("inside", signal, scope)];
    const end = await this.#cli.run(words, { signal: never });
    const count = end.code === 0 ? this.#note("inside", textOf(end)) : undefined;
    if (count !== undefined) return count;
    if (/is not running|no such container|container state improper|is paused/i.test(end.stderr)) return 0;
    if (!this.#cli.isSudo) return undefined; // no shell in the image
    const { success, stdout } = await new Deno.Command("sudo", {
      args: ["-n", "--", ...this.#script("host", signal, scope)],
      clearEnv: true,
      env: this.#cli.env,
      stdin: "null",
      stderr: "null",
    }).output();
    return success ? this.#note("host", new TextDecoder().decode(stdout)) : undefined;
  }

  /** Keeps what the script found, and gives how many; undefined where it printed something else. */
  #note(place: Place, text: string): number | undefined {
    const [, count, named = ""] = SCRIPT_REGEXP.exec(text) ?? [];
    if (count === undefined) return undefined;
    for (const one of named.split(" ").filter(Boolean)) this.#told[place].add(one);
    return Number(count);
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
