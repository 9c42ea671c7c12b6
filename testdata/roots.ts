/**
 * Root filesystems that lack what programs take for granted, and the way into them: a mount namespace of the
 * run's own, /proc, chroot. Needs root.
 *
 * @module
 */
import { findProgram } from "./needs.ts";
import { must } from "./real_registry.ts";

/** Files in a root: nothing but /proc; a static busybox; musl's loader and no glibc; Debian. */
export type RootKind = "bare" | "busybox" | "musl" | "debian";

/** What is different in there. */
export interface Inside {
  /** All the environment there is. */
  env?: Readonly<Record<string, string>>;
  /** Shell commands before the chroot, in the namespace, as root; `$1` is the root's path. */
  setup?: string;
  /** The user, and its group. */
  uid?: number;
}

/** Programs of Debian packages that making and entering them needs; for needs(). */
export const ROOT_PROGRAMS = ["unshare", "chroot", "mount", "/bin/busybox"] as const;

/** Makes a root at `path`, with `davit` copied to /davit; gives its path. */
export async function makeRoot(kind: RootKind, path: string, davit: string): Promise<string> {
  if (kind === "debian") await must(["debootstrap", "--variant=minbase", "bookworm", path]);
  await Deno.mkdir(`${path}/proc`, { recursive: true });
  await Deno.chmod(path, 0o755);
  if (kind === "busybox") await addBusybox(path);
  if (kind === "musl") {
    const loader = `ld-musl-${Deno.build.arch}.so.1`;
    await Deno.mkdir(`${path}/lib`);
    await Deno.copyFile(await Deno.realPath(`/lib/${loader}`), `${path}/lib/${loader}`);
    await Deno.symlink(`../lib/${loader}`, `${path}/lib/libc.musl-${Deno.build.arch}.so.1`);
    for (const name of ["tmp", "var/tmp", "etc", "root"]) {
      await Deno.mkdir(`${path}/${name}`, { recursive: true });
    }
  }
  await Deno.copyFile(davit, `${path}/davit`);
  return path;
}

/** The few applets that the tests call, and what a busybox image has beside them. */
async function addBusybox(path: string): Promise<void> {
  await Deno.mkdir(`${path}/bin`);
  await Deno.copyFile("/bin/busybox", `${path}/bin/busybox`);
  for (const applet of ["sh", "ls", "cat", "find", "sleep"]) {
    await Deno.symlink("busybox", `${path}/bin/${applet}`);
  }
  for (const name of ["tmp", "var/tmp", "etc", "root", "dev"]) {
    await Deno.mkdir(`${path}/${name}`, { recursive: true });
  }
  for (const name of ["tmp", "var/tmp"]) await Deno.chmod(`${path}/${name}`, 0o1777);
  await Deno.writeTextFile(`${path}/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\n");
}

/** The command line that runs `argv` in the root at `path`. */
export function inRoot(
  path: string,
  argv: readonly string[],
  { env = {}, setup = "", uid }: Inside = {},
): string[] {
  const entering = `mount -t proc proc "$1/proc"\n${setup}\nshift\nexec "$@"`;
  return [
    ...["unshare", "--mount", "sh", "-euc", entering, "sh", path],
    ...["env", "-i", ...Object.entries(env).map(([name, value]) => `${name}=${value}`)],
    findProgram("chroot")!,
    ...uid === undefined ? [] : [`--userspec=${uid}:${uid}`],
    path,
    ...argv,
  ];
}

/** The command line that runs `argv` in a mount namespace of its own, after the shell commands in `setup`. */
export function inNamespace(argv: readonly string[], setup: string): string[] {
  return ["unshare", "--mount", "sh", "-euc", `${setup}\nexec "$@"`, "sh", ...argv];
}
