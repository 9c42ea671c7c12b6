/**
 * How this davit was started, and how to start it again: from source, as a compiled file, or from the
 * portable file, whose launcher (scripts/launcher.c) puts the runtime behind a loader of its own, so that
 * `Deno.execPath()` is that loader and not davit.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { type EnvironmentAccess, giveBackKept } from "./kept_environment.ts";

/** What the launcher of the portable file told. */
interface Launch {
  /** Where the parts were unpacked; undefined when they are in memory. */
  readonly directory: string | undefined;
  /** The portable file. */
  readonly file: string;
  /** Open as long as we run: it may be removed meanwhile, as by `rm -rf /tmp/*`. */
  readonly held: Deno.FsFile | undefined;
}

/** A program and its first arguments, and what its environment needs beside ours. */
export interface ProgramStart {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

/** For `davit self`. */
export interface SelfFacts {
  readonly mode: "source" | "compiled" | "portable";
  readonly file: string;
  /** The directory with the unpacked parts; null in memory, absent when nothing is unpacked. */
  readonly unpacked?: string | null;
}

const LAUNCHED = "DAVIT_LAUNCHED";
/** Set by the launcher for the runtime alone. */
const RUNTIME_ONLY = ["HOME", "DENO_DIR", "DENO_NO_UPDATE_CHECK", "DENO_DISABLE_NODE_SHIM"];

let launch: Launch | undefined;

/**
 * Takes the launcher's message out of the environment and gives every variable that it kept from the runtime
 * its name back, so that what we start sees what we were given. Without a launcher nothing happens:
 * `mainModule` tells whether the message is its own. Called once, before anything else.
 */
export function adoptLaunch(env: EnvironmentAccess, mainModule: string): void {
  const message = env.get(LAUNCHED);
  const at = message?.indexOf("\n") ?? -1;
  if (message === undefined || at < 0) return;
  const directory = message.slice(0, at) || undefined;
  const file = message.slice(at + 1);
  const main = decodeURIComponent(new URL(mainModule).pathname);
  if (
    directory === undefined ? !/^\/(proc\/self\/fd\/|memfd:)/.test(main) : main !== `${directory}/main.js`
  ) return;
  for (const name of [LAUNCHED, ...RUNTIME_ONLY]) env.delete(name);
  giveBackKept(env);
  launch = { directory, file, held: openOrNothing(file) };
  const inherited = [
    ...directory === undefined ? memoryParts() : [],
    /^\/proc\/self\/fd\/(\d+)$/.exec(file)?.[1],
  ];
  closeDescriptors(inherited.filter((number) => number !== undefined).map(Number));
  // The kernel took the name from the path that was executed, /proc/self/fd/N.
  if (directory === undefined) Deno.writeTextFileSync("/proc/self/comm", "davit");
}

/** The loader had to open these by number, so they survived its start; nobody else must inherit them. */
function memoryParts(): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => name).filter((name) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith("/memfd:davit:");
    } catch {
      return false; // the descriptor of this very listing
    }
  });
}

function closeDescriptors(numbers: readonly number[]): void {
  if (numbers.length === 0) return;
  // Deno's own files have handles, not numbers: only libc can close one that we were born with.
  const libc = Deno.dlopen("libc.so.6", { close: { parameters: ["i32"], result: "i32" } });
  for (const number of numbers) libc.symbols.close(number);
  libc.close();
}

function openOrNothing(file: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(file);
  } catch {
    return undefined; // gone within the milliseconds since the launcher read it: selfStart() then says so
  }
}

/**
 * How to start this very davit again with other arguments. Throws a Failure (UNAVAILABLE, `davit_gone`) when
 * its file is no more to be had. Where the portable file was removed, it is started through our own
 * descriptor: that works for children of this process, not for a command line that another program runs
 * later.
 */
export function selfStart(): ProgramStart {
  if (launch !== undefined) return { argv: [launchedFile(launch)], env: {} };
  if (Deno.build.standalone) return { argv: [Deno.execPath()], env: {} };
  const root = new URL("../../", import.meta.url).pathname;
  const options = ["run", "-A", "--no-prompt", "--quiet", `--config=${decodeURIComponent(root)}deno.json`];
  return {
    argv: [Deno.execPath(), ...options, decodeURIComponent(new URL(Deno.mainModule).pathname)],
    env: {},
  };
}

/** As scripts/launcher.c gives them to a portable file's probes, and why. */
const PROBE_V8_FLAGS =
  "--v8-flags=--lite-mode,--optimize-for-size,--single-threaded,--max-semi-space-size=1,--initial-heap-size=8";

/** The same for a process that runs for weeks beside others' work: it takes less memory. */
export function probeStart(): ProgramStart {
  const { argv: [program, ...args], env } = selfStart();
  const isRuntime = launch === undefined && !Deno.build.standalone;
  return {
    argv: isRuntime ? [program, args[0]!, PROBE_V8_FLAGS, ...args.slice(1)] : [program, ...args],
    env,
  };
}

/** How to run a program that the portable file carries; undefined when there is none. */
export function bundledTool(name: string): ProgramStart | undefined {
  if (launch === undefined || !BUNDLED_TOOLS.includes(name)) return undefined;
  const { directory } = launch;
  // Its environment may be cleared: the launcher would then look for another directory.
  const env = directory === undefined ? {} : { DAVIT_CACHE: directory.slice(0, directory.lastIndexOf("/")) };
  return { argv: [launchedFile(launch), "self", "tool", name], env };
}

/** The programs that a portable file carries. */
export const BUNDLED_TOOLS: readonly string[] = ["sqfstar", "unsquashfs"];

/** What `davit self` shows. */
export function selfFacts(): SelfFacts {
  if (launch !== undefined) {
    return { mode: "portable", file: launch.file, unpacked: launch.directory ?? null };
  }
  const file = Deno.build.standalone
    ? Deno.execPath()
    : decodeURIComponent(new URL(Deno.mainModule).pathname);
  return { mode: Deno.build.standalone ? "compiled" : "source", file };
}

function launchedFile({ file, held }: Launch): string {
  const opened = held?.statSync();
  if (opened === undefined) {
    throw new Failure("UNAVAILABLE", `Cannot start davit again: its file "${file}" is gone`, {
      code: "davit_gone",
      hint: "put the portable file back",
    });
  }
  if (isSame(opened, file)) return file;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    if (isSame(opened, `/proc/self/fd/${name}`)) return `/proc/self/fd/${name}`;
  }
  throw new Failure("SOFTWARE", `Cannot start davit again: its descriptor is not in /proc/self/fd`, {
    code: "davit_gone",
  });
}

function isSame(opened: Deno.FileInfo, path: string): boolean {
  try {
    const found = Deno.statSync(path);
    return found.ino === opened.ino && found.dev === opened.dev;
  } catch {
    return false; // removed, or not ours to look at: either way not to be started from there
  }
}
