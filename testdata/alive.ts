/**
 * Whether processes run, for tests that end them.
 *
 * @module
 */

/**
 * Whether a process runs. One that has ended and that nobody has waited for does not: an orphan stays so until
 * init gets to it, which took the machine's own init up to a second.
 */
export function isAlive(pid: number): boolean {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return !["Z", "X"].includes(stat.charAt(stat.lastIndexOf(")") + 2));
  } catch (error) {
    // ESRCH: it ended between open and read.
    if (error instanceof Deno.errors.NotFound || /os error 3\)/.test(String(error))) return false;
    throw error;
  }
}

/** Waits until a process has ended: after a kill, and after the end of its output, that takes another moment. */
export async function untilEnded(pid: number, timeoutMs = 5_000): Promise<void> {
  const startedMs = performance.now();
  while (isAlive(pid)) {
    if (performance.now() - startedMs > timeoutMs) {
      throw new Error(`process ${pid} still runs after ${timeoutMs} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
