/**
 * Ends child processes for certain. Children that may have children of their own are spawned with
 * `detached: true`, which makes each the leader of a process group (only with `spawn()`: `output()` ignores it).
 *
 * @module
 */

/** How a child ended, as far as it can be told. */
export interface ChildEnd {
  /** Exit code, or 128 plus the signal's number. */
  readonly code: number;
  readonly signal: string | null;
}

/** Waits for `child` to end. Never rejects: Deno throws for real-time signals, whose number is in the message. */
export async function endOf(child: Deno.ChildProcess): Promise<ChildEnd> {
  try {
    const { code, signal } = await child.status;
    return { code, signal };
  } catch (error) {
    const number = /Invalid signal: (\d+)/.exec(String(error))?.[1];
    return { code: 128 + Number(number ?? 0), signal: number ? `signal ${number}` : "unknown" };
  }
}

/**
 * Ends `child`, a detached one, and its whole process group: SIGTERM, up to `graceMs` for the child to go, then
 * SIGKILL for whatever is left. Resolves when the child is reaped; a child that has ended already is fine.
 */
export async function endGroup(
  child: Deno.ChildProcess,
  { graceMs }: { graceMs: number },
): Promise<ChildEnd> {
  const ended = endOf(child);
  signalGroup(child.pid, "SIGTERM");
  // A stopped process does not act on SIGTERM until it goes on.
  signalGroup(child.pid, "SIGCONT");
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, graceMs));
  await Promise.race([ended, late]);
  clearTimeout(timer);
  // Also when the leader went at once: others of its group may ignore SIGTERM.
  signalGroup(child.pid, "SIGKILL");
  return await ended;
}

function signalGroup(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(-pid, signal);
  } catch (error) {
    // ESRCH: nobody is left. Its error has no code in Deno 2.9.6, only the class.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
