/**
 * Says what a test needs of the machine: `Deno.test({ ...needs({ root: true }), name, fn })`.
 *
 * What is missing makes the test ignored, and scripts/test.ts prints its name with the reason. Where CI=true,
 * nothing that an installation could have given may be missing: there, for each test that lacks root or a
 * program, one more test is registered that fails at once and says what is missing. A kernel feature or a device
 * cannot be installed; a test that lacks one is only ignored and listed, everywhere.
 *
 * @module
 */

/** What a test cannot do without. */
export interface Needs {
  /** Effective user 0. */
  root?: true;
  /** Names that are looked for on PATH and in /usr/sbin and /sbin, or absolute paths. */
  programs?: readonly string[];
  kernel?: readonly KernelFeature[];
}

/** A feature of the kernel or a device; `works` tries it and leaves nothing behind. */
export interface KernelFeature {
  readonly name: string;
  readonly works: () => boolean;
}

/** One line of the file that `TEST_SKIPS_FILE` names: why the test at this place was not run. */
export interface SkipRecord {
  /** file: URL of the test module and the line in it. */
  readonly file: string;
  readonly line: number;
  readonly reasons: readonly string[];
  /** False when only the kernel or a device is missing, which no installation mends. */
  readonly installable: boolean;
}

/** The variable by which scripts/test.ts says where records go. */
export const SKIPS_VARIABLE = "TEST_SKIPS_FILE";

/**
 * The part of a test's definition that ignores it where something is missing. The property is read when it is
 * spread, so one result can serve many tests and each is recorded at its own place.
 */
export function needs(wanted: Needs): { ignore: boolean } {
  const installable = missingFromMachine(wanted);
  const kernel = (wanted.kernel ?? []).filter(({ works }) => !works()).map(({ name }) => name);
  return {
    get ignore() {
      if (installable.length + kernel.length === 0) return false;
      const reasons = [...installable, ...kernel].map((name) => `needs ${name}`);
      record({ ...callerOf(new Error()), reasons, installable: installable.length > 0 });
      if (installable.length > 0 && Deno.env.get("CI") === "true") failFor(reasons);
      return true;
    },
  };
}

function missingFromMachine({ root, programs = [] }: Needs): string[] {
  return [
    ...root && Deno.uid() !== 0 ? ["root"] : [],
    ...programs.filter((name) => findProgram(name) === undefined),
  ];
}

/** The absolute path of a program, or undefined. Debian keeps some of them out of other users' PATH, in sbin. */
export function findProgram(name: string): string | undefined {
  const directories = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  const candidates = name.startsWith("/")
    ? [name]
    : directories.filter(Boolean).map((path) => `${path}/${name}`);
  return candidates.find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile && ((mode ?? 0) & 0o111) !== 0;
  } catch {
    return false;
  }
}

/** Frame 0 is the getter, frame 1 the test module's spread. */
function callerOf({ stack = "" }: Error): { file: string; line: number } {
  const match = /\(?(file:\/\/[^\s()]+?):(\d+):\d+\)?$/.exec(stack.split("\n")[2] ?? "");
  return { file: match?.[1] ?? "", line: Number(match?.[2] ?? 0) };
}

function record(skip: SkipRecord): void {
  const path = Deno.env.get(SKIPS_VARIABLE);
  if (path !== undefined) Deno.writeTextFileSync(path, `${JSON.stringify(skip)}\n`, { append: true });
}

function failFor(reasons: readonly string[]): void {
  const error = new Error(`CI=true and the machine is incomplete: this test ${reasons.join(", ")}`);
  try {
    Deno.test(`a test ${reasons.join(", ")}`, () => Promise.reject(error));
  } catch {
    throw error; // inside a test no other can be registered: the step's own test fails
  }
}

/** Mount namespaces with a tmpfs in them: root in a container may lack CAP_SYS_ADMIN. */
export const privateMounts: KernelFeature = {
  name: "mounts in a namespace",
  works: () => succeeds("unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"),
};

/** A FUSE device that can be opened. */
export const fuse: KernelFeature = {
  name: "/dev/fuse",
  works: () => succeeds("sh", "-c", "exec 3<>/dev/fuse"),
};

/** ptrace of a child, which strace uses; some containers forbid it. */
export const ptrace: KernelFeature = {
  name: "ptrace",
  works: () => succeeds("strace", "-o", "/dev/null", "true"),
};

function succeeds(program: string, ...args: string[]): boolean {
  const path = findProgram(program);
  if (path === undefined) return false;
  const { success } = new Deno.Command(path, { args, stdin: "null", stdout: "null", stderr: "null" })
    .outputSync();
  return success;
}
