/**
 * The locks of containers on this host: one flock per runtime and name, exclusive for changes, shared for use. They
 * are held by this process, for one connection, and the kernel frees them whatever becomes of it. Beside each is who
 * holds it, for those who wait, and when it was last used, for leases.
 *
 * @module
 */
import { Failure } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";
import { type Lock, lockOwners, tryLock } from "../../host/flock.ts";
import { splitPath } from "../../host/publish.ts";
import type { Log } from "../../host/log.ts";
import type { HostMethods, LockHolder } from "../host_methods.ts";
import { lockDirectory, type LockPlaces } from "./lock_directory.ts";
import { pause } from "./lifecycle.ts";

type Wish = HostMethods["lock"]["params"];

interface Held {
  readonly lock: Lock;
  readonly mode: Wish["mode"];
  /** The file that says who we are. */
  readonly record: string;
}

const FIRST_POLL_MS = 20;
const POLL_MS = 250;

/** What one connection holds; disposing frees all of it. */
export class Locks implements AsyncDisposable {
  readonly #places: LockPlaces;
  readonly #log: Log;
  readonly #held = new Map<string, Held>();
  #directory: Promise<string> | undefined;

  constructor(places: LockPlaces, log: Log) {
    this.#places = places;
    this.#log = log;
  }

  /** Takes it, or says who has it. Taken again in the same mode it stays; in another mode it is let go before. */
  async take(
    { name, mode, waitMs, holder }: Wish,
    signal: AbortSignal,
  ): Promise<HostMethods["lock"]["result"]> {
    const held = this.#held.get(name);
    if (held?.mode === mode) return { kind: "held" };
    await this.free(name);
    const path = await this.#pathOf(name);
    const deadline = Date.now() + waitMs;
    for (let pollMs = FIRST_POLL_MS;; pollMs = Math.min(pollMs * 2, POLL_MS)) {
      const result = await tryLock(path, { isShared: mode === "shared" });
      if (result.kind === "held") {
        const record = await this.#record(path, holder);
        this.#held.set(name, { lock: result.lock, mode, record });
        await this.touch(name);
        return { kind: "held" };
      }
      if (result.kind === "refused") throw refused(path, result.errno);
      if (Date.now() >= deadline) return { kind: "busy", holder: await holderOf(path) };
      await pause(Math.min(pollMs, Math.max(deadline - Date.now(), 1)), signal);
    }
  }

  /** Lets it go; one that is not held is fine. */
  async free(name: string): Promise<void> {
    const held = this.#held.get(name);
    if (held === undefined) return;
    this.#held.delete(name);
    await this.touch(name);
    await this.#remove(held.record);
    held.lock[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#held.keys()]) await this.free(name);
  }

  /** How many use the container just now, by their shared locks. */
  async countShared(name: string): Promise<number> {
    return (await lockOwners(await this.#pathOf(name))).filter(({ isShared }) => isShared).length;
  }

  /** Notes that the container is used now. */
  async touch(name: string): Promise<void> {
    const file = `${await this.#pathOf(name)}.used`;
    try {
      await Deno.writeTextFile(file, new Date().toISOString(), { mode: 0o666 });
    } catch (error) {
      // Another user's, in a directory for all: a lease then ends by the start time.
      this.#log.debug("cannot note the use of a container", { file, errno: errnoOf(error) });
    }
  }

  /** When it was last used, ISO time; undefined when that is not known (any more). */
  async lastUsed(name: string): Promise<string | undefined> {
    try {
      const text = await Deno.readTextFile(`${await this.#pathOf(name)}.used`);
      return Number.isNaN(Date.parse(text)) ? undefined : text;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return undefined;
    }
  }

  /** Names are checked before they come here: they have no slash. */
  async #pathOf(name: string): Promise<string> {
    this.#directory ??= lockDirectory(this.#places);
    return `${await this.#directory}/${name}.lock`;
  }

  async #record(path: string, holder: Wish["holder"]): Promise<string> {
    const record = `${path}.${Deno.pid}.${crypto.randomUUID().slice(0, 8)}`;
    const text: LockHolder = { ...holder, pid: Deno.pid, host: Deno.hostname() };
    try {
      await Deno.writeTextFile(record, JSON.stringify(text), { createNew: true, mode: 0o644 });
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#log.debug("cannot say who holds the lock", { file: record, errno: errnoOf(error) });
    }
    return record;
  }

  async #remove(record: string): Promise<void> {
    try {
      await Deno.remove(record);
    } catch (error) {
      if (errnoOf(error) === undefined && !(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

function refused(path: string, errno: string): Failure {
  return new Failure(
    "CANTCREAT",
    `Cannot lock a container: the filesystem of "${path}" refuses locks (${errno})`,
    {
      code: "no_lock_directory",
      hint: "DAVIT_CONTAINER_LOCK_DIR names another, on this host's own disk",
    },
  );
}

/** Who holds the lock file, as far as this host tells. */
async function holderOf(path: string): Promise<LockHolder | null> {
  const [owner] = await lockOwners(path);
  if (owner === undefined) return null;
  const { pid } = owner;
  const { directory, name } = splitPath(path);
  for await (const entry of Deno.readDir(directory)) {
    if (!entry.name.startsWith(`${name}.${pid}.`)) continue;
    try {
      const told = JSON.parse(await Deno.readTextFile(`${directory}/${entry.name}`)) as Partial<LockHolder>;
      return {
        pid,
        host: String(told.host ?? ""),
        user: String(told.user ?? ""),
        since: String(told.since ?? ""),
        what: String(told.what ?? ""),
      };
    } catch (error) {
      // Half written, or let go just now.
      if (errnoOf(error) === undefined && !(error instanceof SyntaxError)) throw error;
    }
  }
  return { pid, host: Deno.hostname(), user: "", since: "", what: "" };
}
