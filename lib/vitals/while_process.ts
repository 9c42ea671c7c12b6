/**
 * Whether a process of a given name runs, so that a probe beside an idle runner has nothing to say.
 *
 * A name is what the kernel calls the process (comm, cut to 15 bytes), or the base name of its first argument: an
 * interpreter's comm is the interpreter's. Zombies do not count, they run nothing.
 *
 * @module
 */

const COMM_BYTES = 15;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Looks for a name again and again, at the price of one file while the process that was found lives. */
export class ProcessWatch {
  readonly #name: string;
  readonly #comm: string;
  readonly #proc: string;
  #found: string | undefined;

  constructor(name: string, { proc = "/proc" }: { proc?: string } = {}) {
    this.#name = name;
    // Bytes, not characters: the kernel cuts a UTF-8 sequence in the middle.
    this.#comm = decoder.decode(encoder.encode(name).subarray(0, COMM_BYTES));
    this.#proc = proc;
  }

  /** Whether one runs now. Throws when the process table cannot be read. */
  isRunning(): boolean {
    if (this.#found !== undefined && this.#matches(this.#found)) return true;
    this.#found = undefined;
    for (const { name } of Deno.readDirSync(this.#proc)) {
      if (!/^\d+$/.test(name) || Number(name) === Deno.pid || !this.#matches(name)) continue;
      this.#found = name;
      return true;
    }
    return false;
  }

  #matches(pid: string): boolean {
    try {
      // proc(5): pid (comm) state …; comm may hold parentheses and spaces.
      const stat = Deno.readTextFileSync(`${this.#proc}/${pid}/stat`);
      const end = stat.lastIndexOf(")");
      if (stat[end + 2] === "Z" || stat[end + 2] === "X") return false;
      if (stat.slice(stat.indexOf("(") + 1, end) === this.#comm) return true;
      const [argument0 = ""] = Deno.readTextFileSync(`${this.#proc}/${pid}/cmdline`).split("\0", 1);
      return argument0.slice(argument0.lastIndexOf("/") + 1) === this.#name;
    } catch {
      return false; // it ended while we looked (ENOENT, ESRCH), or hides behind hidepid
    }
  }
}
