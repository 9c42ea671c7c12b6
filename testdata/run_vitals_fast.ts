/**
 * Runs a whole probe at full speed: its clock jumps to each deadline. `run_vitals_fast.ts SAMPLES EVERY` prints
 * "samples anonymous-KiB file-KiB cpu-ms" to stderr every so many samples; the lines go to stdout.
 *
 * @module
 */
import type { LoopClock } from "../lib/vitals/loop.ts";
import { runVitals } from "../lib/vitals/run.ts";

const [samples, every] = Deno.args.map(Number) as [number, number];
const INTERVAL_MS = 3_000;
const BREATH_EVERY = 100;
const stop = new AbortController();
let nowMs = 0;
let count = 0;

const clock: LoopClock = {
  monoMs: () => nowMs,
  wallMs: () => Date.UTC(2026, 10, 21) + nowMs,
  bootMs: () => nowMs,
  wait: (ms) => ({ done: pass(ms), cancel() {} }),
  rest: pass,
};

async function pass(ms: number): Promise<void> {
  nowMs += ms;
  if (++count % every === 0) say();
  if (count === samples) stop.abort();
  // Timers and reads of others get their turn, too.
  if (count % BREATH_EVERY === 0) await new Promise((resolve) => setTimeout(resolve, 0));
}

function say(): void {
  const status = Deno.readTextFileSync("/proc/self/status");
  const kib = (name: string) => new RegExp(`${name}:\\s+(\\d+)`).exec(status)![1];
  const stat = Deno.readTextFileSync("/proc/self/stat").split(") ")[1]!.split(" ");
  const cpuMs = 10 * (Number(stat[11]) + Number(stat[12]));
  const line = `${count} ${kib("RssAnon")} ${kib("RssFile")} ${cpuMs}\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(line));
}

// A real probe has read its flags before: what that needs stays in memory, a third of all.
await import("../cmd/mod.ts");
const root = new URL("../", import.meta.url).pathname;
await runVitals({
  interval: String(INTERVAL_MS / 1_000),
  tag: "RUNNER_VITALS",
  format: "logfmt",
  env: {},
  version: "test",
  self: { argv: [Deno.execPath(), "run", "-A", `--config=${root}deno.json`, `${root}main.ts`], env: {} },
  signal: stop.signal,
  clock,
});
Deno.exit(0);
