/**
 * Streams a merged root filesystem into sqfstar (squashfs-tools), which writes the squashfs image.
 *
 * Facts about sqfstar 4.5.1 that shaped this (all measured): `-X` options with a value are not understood; an
 * existing file, even an empty one, needs `-force` and keeps its inode; the root directory comes from options, not
 * from the tar, and of these only `-root-mode` is acted on (lib/image/root_inode.ts sets the rest, for which inodes
 * are left uncompressed: about 50 bytes a file); it exits 1 for everything and puts the reason on stderr; a
 * truncated tar makes it exit 1, but one that ends between two entries does not, so it must be ended, not left
 * alone, when our side fails; on SIGTERM it removes its output. Without `-mem` it takes a quarter of the machine;
 * 1.2 GB packed by lz4 took 5.8 s and 71 MiB with 64M, 4.8 s and 209 MiB with 256M, no less time with 512M.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { Activity } from "../host/activity.ts";
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";
import { escapeControls } from "../host/logfmt.ts";
import { spawnWithoutInput } from "../host/no_input.ts";
import { type ChildEnd, endGroup, endOf } from "../host/process.ts";
import { bundledTool, type ProgramStart } from "../host/self.ts";
import { emitTar } from "./emit.ts";
import type { ImagePlan } from "./merge.ts";
import { setRootOwner } from "./root_inode.ts";

/** How data blocks may be packed; "none" stores them as they are. */
export const COMPRESSIONS = ["lz4", "gzip", "lzo", "xz", "zstd", "none"] as const;

/** One of {@linkcode COMPRESSIONS}. */
export type Compression = typeof COMPRESSIONS[number];

/** What {@linkcode buildSquashfs} needs to know. */
export interface SquashOptions {
  /** The file to write. It may exist; it then keeps its inode and its mode. */
  readonly output: string;
  readonly compression: Compression;
  /** The image's own time, 0 to 2^32-1: with the same layers it makes the same bytes. */
  readonly mkfsTimeSeconds: number;
  /** What sqfstar may use for its queues and caches. */
  readonly memBytes?: number;
  /** The program search path. */
  readonly path: string;
  readonly activity: Activity;
  readonly signal: AbortSignal;
  readonly log: Log;
}

const WANTED = "4.5";
const VERSION_TIMEOUT_MS = 10_000;
const END_GRACE_MS = 5_000;
const KEPT_STDERR_CHARS = 8_192;
const DEFAULT_MEM_BYTES = 256 << 20;
const MIB = 1 << 20;
const CURE =
  "install squashfs-tools 4.5 or newer: Debian 12, Ubuntu 22.04 and later: apt-get install squashfs-tools; " +
  "RHEL, Rocky: dnf install squashfs-tools (9.2 and later, else from EPEL); Alpine: apk add squashfs-tools; " +
  "or build it from github.com/plougher/squashfs-tools and put sqfstar on PATH";

/** A sqfstar that will do. */
export interface Sqfstar {
  readonly version: string;
  readonly start: ProgramStart;
}

/**
 * The sqfstar on `path`; the one that the portable file carries where there is none, or a too old one. Throws a
 * Failure (UNAVAILABLE, `missing_program`) when neither is to be had.
 */
export async function findSqfstar(path: string): Promise<Sqfstar> {
  try {
    return await probe({ argv: ["sqfstar"], env: {} }, path);
  } catch (error) {
    const bundled = bundledTool("sqfstar");
    if (bundled === undefined || !(error instanceof Failure)) throw error;
    return await probe(bundled, path);
  }
}

async function probe(start: ProgramStart, path: string): Promise<Sqfstar> {
  let text: string;
  try {
    const { stdout, stderr } = await spawnWithoutInput(start.argv[0], {
      args: [...start.argv.slice(1), "-version"],
      ...cleanEnvironment(start, path),
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(VERSION_TIMEOUT_MS),
    }).output();
    text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== "ENOENT" && errno !== "EACCES") throw error;
    throw missing(errno === "ENOENT" ? "it is not on PATH" : "it may not be executed", error);
  }
  const version = /\bversion (\d+)\.(\d+)(\S*)/.exec(text);
  if (!version) throw missing(`it does not tell its version ("${escapeControls(text.slice(0, 80))}")`);
  const [, major, minor, rest] = version;
  if (Number(major) < 4 || (Number(major) === 4 && Number(minor) < 5)) {
    throw missing(`version ${major}.${minor}${escapeControls(rest!)} was found`);
  }
  return { version: `${major}.${minor}${rest}`, start };
}

function missing(state: string, cause?: unknown): Failure {
  return new Failure("UNAVAILABLE", `Cannot use "sqfstar": ${state}, version ${WANTED} or newer was wanted`, {
    code: "missing_program",
    hint: CURE,
    cause,
  });
}

function cleanEnvironment(
  { env }: ProgramStart,
  path: string,
): { clearEnv: true; env: Record<string, string> } {
  // SOURCE_DATE_EPOCH, SQFSTAR_* and a locale would all change what comes out.
  return { clearEnv: true, env: { PATH: path, LC_ALL: "C", ...env } };
}

/**
 * Writes `plan` as a squashfs image. Throws a Failure: `missing_program`, `no_space` naming the directory,
 * `converter_failed` with sqfstar's own words, {@linkcode DamagedLayer}, or the abort reason. sqfstar has ended
 * when this returns or throws; what it wrote is then not synced, and not to be used after a throw.
 */
export async function buildSquashfs(plan: ImagePlan, options: SquashOptions): Promise<void> {
  const { activity, signal, log, path } = options;
  const { version, start } = await findSqfstar(path);
  signal.throwIfAborted();
  activity.begin("squash");
  const bar = activity.bar("data", "squashfs", plan.dataBytes);
  const args = argumentsOf(plan, options);
  log.debug("starting sqfstar", { version, program: start.argv.join(" "), args: args.join(" ") });
  const child = new Deno.Command(start.argv[0], {
    args: [...start.argv.slice(1), ...args],
    ...cleanEnvironment(start, path),
    stdin: "piped",
    // It says nothing there, and "null" needs a /dev/null, which a bare root filesystem has not.
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  const said = Promise.all([tailOf(child.stderr), tailOf(child.stdout)]).then(([stderr]) => stderr);
  let ending: Promise<ChildEnd> | undefined;
  const end = () => ending ??= endGroup(child, { graceMs: END_GRACE_MS });
  signal.addEventListener("abort", end);
  const input = await openInput(child);
  try {
    if (signal.aborted) end();
    await emitTar(plan, (bytes) => input.write(bytes).catch(gone), {
      signal,
      onData: (bytes) => bar.done += bytes,
    });
    await input.close().catch(gone);
  } catch (error) {
    // Ended before its input is closed: of half a tar it might make a whole image.
    const ended = await end();
    await input.close().catch(() => {}); // the pipe may be broken already, which is what brought us here
    const stderr = await said;
    signal.throwIfAborted();
    throw error instanceof ConverterGone ? converterFailed(ended, stderr, options.output) : error;
  } finally {
    signal.removeEventListener("abort", end);
  }
  signal.addEventListener("abort", end);
  // All data is in its queues now; what it still has to pack and write shows only in the file.
  let lastSize = 0;
  const watcher = setInterval(async () => {
    const size = await Deno.stat(options.output).then((info) => info.size, () => lastSize);
    if (size !== lastSize) activity.ticks++;
    lastSize = size;
  }, 1000);
  const ended = await endOf(child).finally(() => {
    clearInterval(watcher);
    signal.removeEventListener("abort", end);
  });
  await ending;
  const stderr = await said;
  signal.throwIfAborted();
  if (ended.code !== 0) throw converterFailed(ended, stderr, options.output);
  const { uid, gid, mtimeSeconds } = plan.root;
  if (!await setRootOwner(options.output, { uid, gid, mtimeSeconds, otherIds: plan.otherIds })) {
    log.warn("the owner of the root directory owns nothing else and could not be set", { uid, gid });
  }
  if (stderr !== "") log.warn("sqfstar had something to say", { text: escapeControls(stderr.slice(-500)) });
}

/** The way into sqfstar. */
interface Input {
  write(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/**
 * A descriptor of our own for the child's input: its writes run on Deno's thread pool, beside the decompression
 * on the main thread, where those of `child.stdin` would take turns with it (0.8 s against 2 s per 1.2 GB, and
 * not overlapped).
 */
async function openInput(child: Deno.ChildProcess): Promise<Input> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(`/proc/${child.pid}/fd/0`, { write: true });
  } catch (error) {
    // No /proc, or it has ended already, which the first write will tell.
    if (errnoOf(error) === undefined) throw error;
    const writer = child.stdin.getWriter();
    return { write: (bytes) => writer.write(new Uint8Array(bytes)), close: () => writer.close() };
  }
  // Without it sqfstar would never see the end.
  await child.stdin.close();
  let isOpen = true;
  return {
    async write(bytes) {
      let rest = bytes;
      while (rest.length > 0) rest = rest.subarray(await file.write(rest));
    },
    close() {
      if (isOpen) file.close();
      isOpen = false;
      return Promise.resolve();
    },
  };
}

/** The pipe is closed: sqfstar went away, and its stderr says why. */
class ConverterGone extends Error {}

function gone(error: unknown): never {
  throw new ConverterGone("sqfstar closed its input", { cause: error });
}

function argumentsOf({ root }: ImagePlan, options: SquashOptions): string[] {
  const { compression, mkfsTimeSeconds, memBytes = DEFAULT_MEM_BYTES, output } = options;
  const comp = compression === "none" ? ["-comp", "lz4", "-noD", "-noF"] : ["-comp", compression];
  return [
    ...comp,
    ...["-mkfs-time", String(mkfsTimeSeconds)],
    ...["-root-mode", root.mode.toString(8)],
    ...["-root-uid", String(root.uid)],
    ...["-root-gid", String(root.gid)],
    ...["-root-time", String(root.mtimeSeconds)],
    ...["-mem", `${Math.max(Math.floor(memBytes / MIB), 1)}M`],
    "-noI",
    "-no-progress",
    "-quiet",
    "-exit-on-error",
    "-force",
    // A name that begins with "-" would be an option.
    output.startsWith("/") ? output : `./${output}`,
  ];
}

function converterFailed({ code, signal }: ChildEnd, stderr: string, output: string): Failure {
  const words = escapeControls(stderr.trim().split("\n").slice(-3).join("; "));
  const directory = escapeControls(output.slice(0, output.lastIndexOf("/") + 1) || ".");
  if (/No space left|Disk quota/.test(stderr)) {
    return new Failure(
      "IOERR",
      `Cannot write the image in "${directory}": no space is left, or the quota is used up`,
      {
        code: "no_space",
        hint: "free space there or write the image elsewhere",
        cause: new Error(words),
      },
    );
  }
  const how = signal === null ? `it exited ${code}` : `it was ended by ${signal}`;
  return new Failure(
    signal === null ? "IOERR" : "UNAVAILABLE",
    `Cannot make the squashfs image: sqfstar failed (${how})${words && `: ${words}`}`,
    {
      code: "converter_failed",
      hint: signal === "SIGKILL"
        ? "most often the machine or the cgroup is out of memory: see the kernel log"
        : undefined,
    },
  );
}

async function tailOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  let kept = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    kept = (kept + decoder.decode(chunk, { stream: true })).slice(-KEPT_STDERR_CHARS);
  }
  return kept;
}
