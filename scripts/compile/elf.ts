/**
 * Finds the shared libraries that ELF files need, as the dynamic loader would, but in directories that we name, for
 * any architecture: ldd(1) would execute the file, and looks at this machine's libraries only.
 *
 * @module
 */

/** Paths by name (SONAME) of all that `files` need, directly or not, without the dynamic loader itself. */
export async function neededLibraries(
  files: readonly string[],
  directories: readonly string[],
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const queue = [...files];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    for (const name of await neededBy(file)) {
      if (name.startsWith("ld-linux") || found.has(name)) continue;
      const path = directories.map((directory) => `${directory}/${name}`).find(exists);
      if (path === undefined) {
        throw new Error(
          `Cannot pack "${file}": its library "${name}" is in none of ${directories.join(", ")}`,
        );
      }
      found.set(name, path);
      queue.push(path);
    }
  }
  return found;
}

async function neededBy(file: string): Promise<string[]> {
  const { success, stdout, stderr } = await new Deno.Command("readelf", {
    args: ["-dW", file],
    env: { LC_ALL: "C" },
  })
    .output();
  if (!success) throw new Error(`Cannot read "${file}": ${new TextDecoder().decode(stderr).trim()}`);
  return [...new TextDecoder().decode(stdout).matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((match) => match[1]!);
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
