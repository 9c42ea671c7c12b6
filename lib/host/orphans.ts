/**
 * Reaps processes that were left to this one because their parent has ended: PID 1 of a container gets them all,
 * and Deno waits only for children that it started itself. A child of Deno's must not be reaped here, its status
 * would be lost ("No child processes"): the caller names them.
 *
 * @module
 */
import { errnoOf } from "./errno.ts";
import { libc } from "./libc.ts";

const WNOHANG = 1;

/** Reaps what has ended and is in no one's care. */
export class OrphanReaper {
  readonly #known: ReadonlySet<number>;
  readonly #proc: string;
  readonly #status = new Uint8Array(4);

  /** `known` are the children that somebody waits for; it is read at each round. */
  constructor(known: ReadonlySet<number>, { proc = "/proc" }: { proc?: string } = {}) {
    this.#known = known;
    this.#proc = proc;
  }

  /** One round; how many were reaped. */
  reap(): number {
    const symbols = libc();
    if (symbols === undefined) return 0;
    return this.#children().filter((pid) =>
      !this.#known.has(pid) && symbols.waitpid(pid, this.#status, WNOHANG) === pid
    ).length;
  }

  /** Children by process id, living ones too: waitpid with WNOHANG leaves those alone. */
  #children(): number[] {
    try {
      // Orphans go to the first thread. 9 µs instead of the 1.4 ms of a walk over 70 processes.
      const text = Deno.readTextFileSync(`${this.#proc}/self/task/${Deno.pid}/children`);
      return text.split(" ").filter(Boolean).map(Number);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return this.#walk(); // a kernel without CONFIG_PROC_CHILDREN
    }
  }

  #walk(): number[] {
    return [...Deno.readDirSync(this.#proc)].map(({ name }) => name).filter((name) => {
      if (!/^\d+$/.test(name)) return false;
      try {
        const stat = Deno.readTextFileSync(`${this.#proc}/${name}/stat`);
        const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return state === "Z" && Number(parent) === Deno.pid;
      } catch {
        return false; // it ended while we looked
      }
    }).map(Number);
  }
}
