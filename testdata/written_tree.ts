/**
 * Files of /proc, /sys and cgroupfs as a test wants them: kernels, cgroup versions and namespaces that the machine
 * does not have.
 *
 * @module
 */

/** Writes `files` (text by relative path) below `root`; directories are made. A path that ends in "/" is one. */
export async function writeTree(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    const full = `${root}/${path}`;
    await Deno.mkdir(full.slice(0, full.lastIndexOf("/")), { recursive: true });
    if (!path.endsWith("/")) await Deno.writeTextFile(full, text);
  }
}

/** A line of mountinfo; `root` is what of the filesystem shows at `mountPoint`. */
export function mountLine(mountPoint: string, fsType: string, { root = "/", options = "rw" } = {}): string {
  const escaped = mountPoint.replaceAll(" ", "\\040");
  return `36 35 98:0 ${root} ${escaped} rw,relatime shared:1 - ${fsType} ${fsType} ${options}\n`;
}
