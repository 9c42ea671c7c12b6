/**
 * Describes a directory tree for comparison: type, mode, owner, whole seconds of mtime, link target, extended
 * attributes, device number, content and which names are one inode. By GNU find, sha256sum, stat and getfattr,
 * because names need not be UTF-8 and Deno cannot reach such files.
 *
 * @module
 */

/** One object; keyed by its path as a binary string. */
export interface SnapshotEntry {
  type: string;
  mode: string;
  owner: string;
  mtime: number;
  target: string;
  sizeBytes: number;
  /** The first path (sorted) of the same inode. */
  sameAs: string;
  content: string;
  device: string;
}

/** The tree at `root`, and its extended attributes as getfattr prints them, sorted. */
export async function snapshot(
  root: string,
): Promise<{ entries: Map<string, SnapshotEntry>; xattrs: string[] }> {
  const fields = (await output(root, [
    "find",
    ".",
    "-printf",
    "%P\\0%y\\0%m\\0%U:%G\\0%T@\\0%l\\0%s\\0%i\\0",
  ])).split("\0");
  const entries = new Map<string, SnapshotEntry>();
  const firsts = new Map<string, string>();
  const rows: string[][] = [];
  for (let at = 0; at + 8 <= fields.length; at += 8) rows.push(fields.slice(at, at + 8));
  rows.sort((a, b) => a[0]! < b[0]! ? -1 : 1);
  const content = await pairs(root, "f", ["sha256sum", "-z"], /^([0-9a-f]{64}) [ *]\.\/([^]*)$/);
  const device = await pairs(root, "b,c", ["stat", "--printf", "%t:%T ./%n\\0"], /^(\S+) \.\/\.\/([^]*)$/);
  for (const [path, type, mode, owner, mtime, target, size, inode] of rows as [string, ...string[]][]) {
    if (!firsts.has(inode!)) firsts.set(inode!, path);
    entries.set(path, {
      type: type!,
      mode: mode!,
      owner: owner!,
      mtime: Math.floor(Number(mtime)),
      target: target!,
      sizeBytes: type === "d" ? 0 : Number(size),
      sameAs: firsts.get(inode!)!,
      content: content.get(path) ?? "",
      device: device.get(path) ?? "",
    });
  }
  const listing = await output(root, ["getfattr", "-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "."]);
  const xattrs = listing.split("\n\n").filter((block) => block !== "").map((block) => {
    const [file, ...lines] = block.split("\n");
    return [file, ...lines.sort()].join("\n");
  });
  return { entries, xattrs: xattrs.sort() };
}

async function pairs(
  root: string,
  types: string,
  command: string[],
  pattern: RegExp,
): Promise<Map<string, string>> {
  const lines = (await output(root, ["find", ".", "-type", types, "-exec", ...command, "{}", "+"])).split(
    "\0",
  );
  return new Map(
    lines.filter((line) => line !== "").map((line) => {
      const [, value, path] = pattern.exec(line)!;
      return [path!, value!];
    }),
  );
}

async function output(cwd: string, [program, ...args]: string[]): Promise<string> {
  const { stdout, stderr, success } = await new Deno.Command(program!, { args, cwd, env: { LC_ALL: "C" } })
    .output();
  if (!success) throw new Error(`${program} failed: ${new TextDecoder().decode(stderr)}`);
  let text = "";
  for (let at = 0; at < stdout.length; at += 8192) {
    text += String.fromCharCode(...stdout.subarray(at, at + 8192));
  }
  return text;
}
