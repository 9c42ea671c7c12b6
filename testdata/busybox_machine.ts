/**
 * A machine of its own for one test of the portable file's places: a root with busybox in which the test
 * decides what there is. No two tests share one.
 *
 * @module
 */
import { portableFile } from "./portable.ts";
import { inRoot, type Inside, makeRoot } from "./roots.ts";
import { run, type RunResult } from "./run.ts";
import { tempDir } from "./temp.ts";

/** What `davit self --json` tells, of that what is looked at. */
export interface Facts {
  readonly version: string;
  readonly mode: string;
  readonly file: string;
  /** The directory, or null from memory. */
  readonly unpacked: string | null;
}

/** How `davit self` ended. */
export interface Told {
  readonly facts: Facts;
  readonly stderr: string;
}

/** The machine; `await using` removes it. */
export interface Machine extends AsyncDisposable {
  readonly root: string;
  /** Runs a program of the root. */
  run(argv: readonly string[], inside?: Inside): Promise<RunResult>;
  /** Runs `davit self`; throws where it fails. */
  self(inside?: Inside): Promise<Told>;
  /** Runs a shell script of the root; throws where it fails. */
  shell(script: string, inside?: Inside): Promise<string>;
}

/** The places that are left of a root's own: of the launcher's seven only these are there from the start. */
export async function busyboxMachine(): Promise<Machine> {
  const dir = await tempDir("machine");
  const root = await makeRoot("busybox", dir.join("root"), await portableFile());
  return {
    root,
    run: (argv, inside) => run(inRoot(root, argv, inside)),
    async self(inside) {
      const { code, stdout, stderr } = await run(inRoot(root, ["/davit", "self", "--json"], inside));
      if (code !== 0) throw new Error(`davit self exited ${code}: ${stderr}`);
      return { facts: JSON.parse(stdout), stderr };
    },
    async shell(script, inside = {}) {
      const { code, stdout, stderr } = await run(
        inRoot(root, ["/bin/sh", "-euc", script], { ...inside, env: { PATH: "/bin", ...inside.env } }),
      );
      if (code !== 0) throw new Error(`the script exited ${code}: ${stderr}`);
      return stdout;
    },
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

/** Everything below `path` but what `skip` matches, one line each: type, mode, owner, size, name, link. */
export async function treeOf(path: string, skip?: RegExp): Promise<string[]> {
  // A directory's size tells how many names it once had.
  const formats = ["-type", "d", "-printf", "%y %m %U - %P %l\\n", "-o", "-printf", "%y %m %U %s %P %l\\n"];
  const { stdout } = await run(["find", path, "-mindepth", "1", ...formats]);
  return stdout.trimEnd().split("\n").filter((line) => line !== "" && !skip?.test(line)).sort();
}
