/**
 * `deno task test`: installs what the tests need, runs them, says which were skipped and why, and ends with the
 * line `N passed, N failed, N skipped`. It counts tests, not their steps; a step that was skipped is counted as
 * skipped, because it is a check that nobody made, and a test file that does not load is one failure.
 *
 *   deno task test [--deadline=52m] [FILE|DIRECTORY …] [flags of deno test]
 *   deno task test:long …     the same over `*_long_test.ts`, which the first leaves out
 *
 * Files run one after the other unless DENO_JOBS says in how many processes at a time: many start a dozen of their own.
 * Then each prints what it has when it ends. Whatever a test leaves behind, processes and temporary files, ends with
 * the run, also after Ctrl-C.
 *
 * @module
 */
import { messageOf } from "../lib/failure.ts";
import { escapeControls } from "../lib/host/logfmt.ts";
import { formatDuration, parseDuration } from "../lib/units.ts";
import { SKIPS_VARIABLE } from "../testdata/needs.ts";
import { tempDir } from "../testdata/temp.ts";
import { type Counts, judge } from "./judge.ts";
import { endMarked, MARK_VARIABLE, sendSignal } from "./leftovers.ts";
import { ensurePackages } from "./packages.ts";

const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/\/$/, "");
/** Both fit into the 90 minutes that CI has. */
const DEADLINE = { short: "52m", long: "34m" };
/** How long deno may take to end after SIGINT; measured: at once, even inside a busy loop. */
const GRACE_MS = 10_000;
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
type SignalName = keyof typeof SIGNALS;
const FLAGS_WITH_VALUE = ["--filter", "--shard", "--seed", "--retry", "--repeats", "--reporter"];

interface Arguments {
  readonly long: boolean;
  readonly deadlineMs: number;
  /** Files and directories to look for tests in. */
  readonly places: readonly string[];
  /** What is handed on to `deno test`. */
  readonly flags: readonly string[];
}

function parseArguments(args: readonly string[]): Arguments {
  const places: string[] = [];
  const flags: string[] = [];
  let long = false;
  let deadlineMs: number | undefined;
  for (const [index, arg] of args.entries()) {
    if (arg === "--long") long = true;
    else if (arg.startsWith("--deadline=")) deadlineMs = parseDuration(arg.slice("--deadline=".length));
    else if (arg.startsWith("-") || FLAGS_WITH_VALUE.includes(args[index - 1] ?? "")) flags.push(arg);
    else places.push(arg);
  }
  deadlineMs ??= parseDuration(DEADLINE[long ? "long" : "short"]);
  return { long, deadlineMs, places: places.length === 0 ? [ROOT] : places, flags };
}

/** Test files below the directories, long or not; a file that is named is taken as it is. */
function findTests(places: readonly string[], long: boolean): string[] {
  const files: string[] = [];
  function walk(directory: string): void {
    for (const { name, isDirectory, isFile } of Deno.readDirSync(directory)) {
      const path = `${directory}/${name}`;
      if (isDirectory && !name.startsWith(".") && name !== "node_modules" && name !== "dist") walk(path);
      if (isFile && name.endsWith("_test.ts") && name.endsWith("_long_test.ts") === long) files.push(path);
    }
  }
  for (const place of places) {
    const path = Deno.realPathSync(place);
    if (Deno.statSync(path).isDirectory) walk(path);
    else files.push(path);
  }
  return files.sort();
}

interface Outcome {
  readonly counts: Counts;
  readonly interruptedBy: SignalName | undefined;
}

/** One run from the packages to the removal of everything it made. */
async function runTests({ long, deadlineMs, places, flags }: Arguments): Promise<Outcome> {
  const files = findTests(places, long);
  await ensurePackages("test");

  await using dir = await tempDir("test");
  const skips = dir.join("skips.jsonl");
  const mark = crypto.randomUUID();
  await Deno.writeTextFile(skips, "");
  await Deno.mkdir(dir.join("tmp"));
  await Deno.chmod(dir.join("tmp"), 0o1777);

  // A filter may leave a process without a test, which would count as a failure.
  const jobs = flags.some((flag) => flag.startsWith("--filter")) ? 1 : Number(Deno.env.get("DENO_JOBS")) || 1;
  const lanes = dealFiles(files, jobs).map((lane, index) => ({
    junit: dir.join(`junit-${index}.xml`),
    output: jobs <= 1 ? undefined : dir.join(`output-${index}`),
    files: lane,
  }));
  const commands = lanes.map(({ junit, output, files }) => {
    const test = [Deno.execPath(), "test", "-A", "--no-prompt", "--frozen", "--sanitize-ops"];
    const argv = [...test, "--sanitize-resources", `--junit-path=${junit}`, ...flags, ...files];
    const [program, ...args] = output === undefined
      ? argv
      : ["sh", "-c", 'exec "$@" >"$0" 2>&1', output, ...argv];
    return new Deno.Command(program!, {
      args,
      cwd: ROOT,
      env: { TMPDIR: dir.join("tmp"), [SKIPS_VARIABLE]: skips, [MARK_VARIABLE]: mark },
      stdin: "null",
      detached: true,
    });
  });
  // deno test without a file would look for its own choice of files.
  const { statuses, interruptedBy } = files.length === 0
    ? { statuses: [0] }
    : await supervise(commands, deadlineMs, (index) => show(lanes[index]!.output));
  const ended = await endMarked(mark);
  if (ended.length > 0) say(`ended what the tests left running: ${ended.join(", ")}`);
  const isCi = Deno.env.get("CI") === "true";
  const counts = await Promise.all(
    lanes.map(({ junit }, index) => judge({ junit, skips, status: statuses[index]!, isCi, root: ROOT })),
  );
  return { counts: sumOf(counts), interruptedBy };
}

/** Tests that start Slurm, whose ports are fixed, and networks of hosts: one at a time. */
const CLUSTER_REGEXP = /\/(?:lib\/container|lib\/host\/fan_out)\/|\/cmd\/container_[^/]+$/;

/** The files in at most `count` heaps, none of them empty; one for no files. */
function dealFiles(files: readonly string[], count: number): string[][] {
  const clusters = files.filter((file) => CLUSTER_REGEXP.test(file));
  if (count <= 1 || clusters.length === 0 || clusters.length === files.length) return [[...files]];
  const others = files.filter((file) => !CLUSTER_REGEXP.test(file));
  const heaps = Array.from(
    { length: count - 1 },
    (_, heap) => others.filter((_, index) => index % (count - 1) === heap),
  );
  return [clusters, ...heaps.filter((heap) => heap.length > 0)];
}

function show(output: string | undefined): void {
  if (output !== undefined) writeAll(Deno.stdout, Deno.readTextFileSync(output));
}

function sumOf(all: readonly Counts[]): Counts {
  const sum = (key: "passed" | "failed" | "skipped") => all.reduce((total, counts) => total + counts[key], 0);
  return {
    ...{ passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") },
    faults: all.flatMap(({ faults }) => faults),
    skippedCases: all.flatMap(({ skippedCases }) => skippedCases),
  };
}

/**
 * Runs deno, perhaps several; a signal or the deadline ends each with SIGINT, by which it names the tests under way, then
 * SIGKILL.
 */
async function supervise(
  commands: readonly Deno.Command[],
  deadlineMs: number,
  onEnd: (index: number) => void,
) {
  const children = commands.map((command) => command.spawn());
  const running = new Set(children.map(({ pid }) => pid));
  let interruptedBy: SignalName | undefined;
  let hasEnded = false;
  let killTimer: ReturnType<typeof setTimeout> | undefined;
  function end(): void {
    if (hasEnded || killTimer !== undefined) return;
    for (const pid of running) sendSignal(pid, "SIGINT");
    killTimer = setTimeout(() => {
      for (const pid of running) sendSignal(-pid, "SIGKILL");
    }, GRACE_MS);
  }
  const deadline = setTimeout(() => {
    say(`the tests still ran after ${formatDuration(deadlineMs)}: they are ended here`);
    end();
  }, deadlineMs);
  // Never removed: npx, deno task and a terminal may each pass the same Ctrl-C on, also while we clean up.
  for (const name of Object.keys(SIGNALS) as SignalName[]) {
    Deno.addSignalListener(name, () => {
      interruptedBy ??= name;
      end();
    });
  }
  try {
    const statuses = await Promise.all(children.map(async (child, index) => {
      const { code } = await child.status;
      running.delete(child.pid);
      onEnd(index);
      return code;
    }));
    return { statuses, interruptedBy };
  } finally {
    hasEnded = true;
    clearTimeout(deadline);
    clearTimeout(killTimer);
  }
}

function report({ passed, failed, skipped, faults, skippedCases }: Counts): void {
  const lines = [
    ...skippedCases.length > 0 ? ["skipped:"] : [],
    ...skippedCases.map(({ place, name, reason }) => `  ${place} ${escapeControls(name)}: ${reason}`),
    ...faults,
    `${passed} passed, ${failed} failed, ${skipped} skipped`,
  ];
  writeAll(Deno.stdout, lines.map((line) => `${line}\n`).join(""));
}

function say(text: string): void {
  writeAll(Deno.stderr, `davit: ${text}\n`);
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let offset = 0; offset < bytes.length;) offset += stream.writeSync(bytes.subarray(offset));
}

async function main(): Promise<number> {
  try {
    const { counts, interruptedBy } = await runTests(parseArguments(Deno.args));
    report(counts);
    return interruptedBy === undefined ? Number(counts.failed > 0) : 128 + SIGNALS[interruptedBy];
  } catch (error) {
    say(`Cannot run the tests: ${messageOf(error)}`);
    return 1;
  }
}

// A bare `deno test` takes a file of this name for a test: then there is nothing to do.
if (import.meta.main) Deno.exit(await main());
