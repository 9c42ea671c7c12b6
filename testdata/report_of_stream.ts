/**
 * Has `davit vitals report` read a log of any size that exists nowhere: a shell repeats a block of it into a FIFO. The
 * heap is bounded by V8 itself, which kills what needs more; the resident memory is watched.
 *
 * @module
 */
import { davitArgv, davitEnv, run, start } from "./run.ts";
import { tempDir } from "./temp.ts";

/** What the report said, and what it cost. */
export interface StreamReport {
  // deno-lint-ignore no-explicit-any -- the report's JSON, whose form is what tests look at
  readonly log: any;
  readonly bytes: number;
  /** Most memory that the process ever had resident. */
  readonly peakBytes: number;
}

const HEAP_MIB = 64;

/** Reads `head`, then `block` until `bytes` are reached, then `tail`. */
export async function reportOfStream(
  { head = "", block, tail = "", bytes }: { head?: string; block: string; tail?: string; bytes: number },
): Promise<StreamReport> {
  await using dir = await tempDir("report");
  for (const [name, text] of Object.entries({ head, block, tail })) {
    await Deno.writeTextFile(dir.join(name), text);
  }
  const { size } = await Deno.stat(dir.join("block"));
  const count = Math.ceil(bytes / size);
  await run(["mkfifo", dir.join("log")]);
  const script = `exec >"$0/log"; cat "$0/head"; i=0
    while [ $i -lt ${count} ]; do cat "$0/block"; i=$((i+1)); done; cat "$0/tail"`;
  await using feeder = start(["sh", "-eu", "-c", script, dir.path], { timeoutMs: 600_000 });
  await using davit = start(davitArgv(["vitals", "report", dir.join("log"), "--json"]), {
    env: davitEnv({ DENO_V8_FLAGS: `--max-old-space-size=${HEAP_MIB}` }),
    timeoutMs: 600_000,
  });
  let peakBytes = 0;
  const watch = setInterval(() => peakBytes = Math.max(peakBytes, residentPeak(davit.pid)), 50);
  try {
    const { code, stdout, stderr } = await davit.done;
    if (code !== 0) throw new Error(`davit ended with ${code}: ${stderr}`);
    await feeder.done;
    const [log] = JSON.parse(stdout).logs;
    return { log, bytes: count * size, peakBytes };
  } finally {
    clearInterval(watch);
  }
}

function residentPeak(pid: number): number {
  try {
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1] ?? 0);
  } catch {
    return 0; // it has ended between two looks
  }
}
