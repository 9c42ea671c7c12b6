/**
 * The processes of a container, as this host's /proc has them.
 *
 * @module
 */

/** Command lines of those that live, without the container's first. */
export async function processesOf(id: string): Promise<string[]> {
  const found: { pid: number; line: string }[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (!(await Deno.readTextFile(`/proc/${name}/cgroup`)).includes(id)) continue;
      const line = (await Deno.readTextFile(`/proc/${name}/cmdline`)).replaceAll("\0", " ").trim();
      // A zombie has no command line; conmon of podman is beside the container, not in it.
      if (line !== "" && !line.includes("conmon")) found.push({ pid: Number(name), line });
    } catch (error) {
      // It ended while we looked.
      if (!(error instanceof Deno.errors.NotFound) && !/os error 3\b/.test(String(error))) throw error;
    }
  }
  return found.sort((a, b) => a.pid - b.pid).slice(1).map(({ line }) => line);
}
