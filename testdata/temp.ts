/**
 * Temporary directories of tests: made in the system's place for them and gone at the end, also when the test
 * left unreadable directories or a mount behind. A mount is taken off first: a recursive removal would
 * otherwise go into what is mounted there.
 *
 * @module
 */

/** A directory that `await using` removes. */
export interface TempDir extends AsyncDisposable {
  readonly path: string;
  /** The path of something inside. */
  join(...parts: string[]): string;
}

/** Makes an empty directory whose name begins with `davit-<name>-`, readable by all so that other users' tests fit. */
export async function tempDir(name: string): Promise<TempDir> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: `davit-${name}-` }));
  await Deno.chmod(path, 0o755);
  return {
    path,
    join: (...parts) => [path, ...parts].join("/"),
    [Symbol.asyncDispose]: () => removeTree(path),
  };
}

/** Removes `path` and all below it; what is mounted below is unmounted, never entered. Absent is fine. */
export async function removeTree(path: string): Promise<void> {
  await unmountBelow(path);
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    await openUp(path);
    await Deno.remove(path, { recursive: true });
  }
}

async function unmountBelow(path: string): Promise<void> {
  const mounts = mountPoints(await Deno.readTextFile("/proc/self/mountinfo"))
    .filter((mount) => mount === path || mount.startsWith(`${path}/`));
  for (const mount of mounts.reverse()) {
    const lazily = Deno.uid() === 0 ? ["umount", "--lazy", mount] : ["fusermount3", "-u", "-z", mount];
    const { success, stderr } = await new Deno.Command(lazily[0]!, { args: lazily.slice(1) }).output();
    if (!success) throw new Error(`Cannot unmount "${mount}": ${new TextDecoder().decode(stderr).trim()}`);
  }
}

/** Mount points in mount order; proc(5): the fifth field, space, tab, newline and backslash as octal. */
function mountPoints(mountinfo: string): string[] {
  return mountinfo.trimEnd().split("\n").map((line) =>
    (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)))
  );
}

async function openUp(directory: string): Promise<void> {
  await Deno.chmod(directory, 0o700);
  for await (const { name, isDirectory } of Deno.readDir(directory)) {
    if (isDirectory) await openUp(`${directory}/${name}`);
  }
}
