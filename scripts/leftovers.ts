/**
 * Ends the processes that a test run left behind, also those in sessions of their own and those that init
 * adopted. They are known by a variable in their environment, which each process hands to its children; one that
 * was started with a cleared environment is not found.
 *
 * @module
 */

/** The variable that marks a run's processes; its value is unique to the run. */
export const MARK_VARIABLE = "TEST_RUN_ID";

const GRACE_MS = 2_000;
const POLL_MS = 50;

/** Ends every process that carries `mark`, SIGTERM first; returns what they were, "pid name". */
export async function endMarked(mark: string): Promise<string[]> {
  const found = new Map<number, string>();
  // A process that is on its way out when the run ends is no leftover: look twice.
  let marked = findMarked(mark);
  if (marked.length > 0) {
    await delay(POLL_MS * 4);
    marked = findMarked(mark);
  }
  const startedMs = performance.now();
  while (marked.length > 0) {
    const isLate = performance.now() - startedMs > GRACE_MS;
    for (const pid of marked) {
      if (!found.has(pid)) sendSignal(pid, "SIGTERM");
      if (!found.has(pid)) found.set(pid, `${pid} ${nameOf(pid)}`);
      if (isLate) sendSignal(pid, "SIGKILL");
    }
    // Uninterruptible processes do not end: they are named and left.
    if (performance.now() - startedMs > 2 * GRACE_MS) break;
    await delay(POLL_MS);
    marked = findMarked(mark);
  }
  return [...found.values()];
}

function findMarked(mark: string): number[] {
  const pids = [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((pid) => pid > 0);
  return pids.filter((pid) => pid !== Deno.pid && isMarked(pid, mark));
}

function isMarked(pid: number, mark: string): boolean {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/environ`).split("\0").includes(`${MARK_VARIABLE}=${mark}`);
  } catch {
    return false; // it has ended, or is another user's: not one of ours
  }
}

function nameOf(pid: number): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/comm`).trim();
  } catch {
    return "(ended)";
  }
}

/** Sends a signal to a process, or to a group (a negative number); one that has ended is left alone. */
export function sendSignal(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
