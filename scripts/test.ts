/**
 * `deno task test`: installs what the tests need, runs them, says which were skipped and why, and ends with the
 * line `N passed, N failed, N skipped`. It counts tests, not their steps; a step that was skipped is counted as
 * skipped, because it is a check that nobody made, and a test file that does not load is one failure.
 *
 *   deno task test [--deadline=50m] [FILE|DIRECTORY …] [flags of deno test]
 *   deno task test:long …     the same over `*_long_test.ts`, which the first leaves out
 *
 * Files run one after the other unless DENO_JOBS says how many at a time: many start a dozen processes of their
 * own. Whatever a test leaves behind, processes and temporary files, ends with the run, also after Ctrl-C.
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
const DEADLINE = { short: "50m", long: "30m" };
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
  const junit = dir.join("junit.xml");
  const skips = dir.join("skips.jsonl");
  const mark = crypto.randomUUID();
  await Deno.writeTextFile(skips, "");
  await Deno.mkdir(dir.join("tmp"));
  await Deno.chmod(dir.join("tmp"), 0o1777);

  const jobs = Deno.env.get("DENO_JOBS");
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      ...["-A", "--no-prompt", "--frozen", "--sanitize-ops", "--sanitize-resources", `--junit-path=${junit}`],
      ...jobs === undefined || jobs === "1" ? [] : ["--parallel"],
      ...flags,
      ...files,
    ],
    cwd: ROOT,
    env: { TMPDIR: dir.join("tmp"), [SKIPS_VARIABLE]: skips, [MARK_VARIABLE]: mark },
    stdin: "null",
    detached: true,
  });
  // deno test without a file would look for its own choice of files.
  const { status, interruptedBy } = files.length === 0 ? { status: 0 } : await supervise(child, deadlineMs);
  const ended = await endMarked(mark);
  if (ended.length > 0) say(`ended what the tests left running: ${ended.join(", ")}`);
  const isCi = Deno.env.get("CI") === "true";
  return { counts: await judge({ junit, skips, status, isCi, root: ROOT }), interruptedBy };
}

/** Runs deno; a signal or the deadline ends it with SIGINT, by which it names the tests under way, then SIGKILL. */
async function supervise(command: Deno.Command, deadlineMs: number) {
  const child = command.spawn();
  let interruptedBy: SignalName | undefined;
  let hasEnded = false;
  let killTimer: ReturnType<typeof setTimeout> | undefined;
  function end(): void {
    if (hasEnded || killTimer !== undefined) return;
    sendSignal(child.pid, "SIGINT");
    killTimer = setTimeout(() => sendSignal(-child.pid, "SIGKILL"), GRACE_MS);
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
    return { status: (await child.status).code, interruptedBy };
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
