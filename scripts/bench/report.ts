/**
 * `deno run -A scripts/bench/report.ts [--size MB]`: how fast `davit vitals report` reads log files, in MB/s and peak
 * memory, by transport and by how much of a log is vitals. Start-up is part of it. Prints; asserts nothing.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { davitArgv, davitEnv, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { VitalsLog } from "../../testdata/vitals_log.ts";
import { timed, WRAPPERS } from "../../testdata/wrap_log.ts";

const { values: { size } } = parseArgs({ options: { size: { type: "string", default: "512" } } });
const bytes = Number(size) * 1e6;

const job = new VitalsLog().start().samples(400).lines;
const chatter = Array.from(
  { length: 60 },
  (_, rank) => `[rank${rank}] step 1230: loss=2.345 tokens/s=123456 mem=70 GB`,
);
const mixed = job.flatMap((line) => [...chatter, line]);

async function measure(name: string, block: string): Promise<void> {
  await using dir = await tempDir("bench");
  const path = dir.join("log");
  const chunk = new TextEncoder().encode(block);
  const count = Math.ceil(bytes / chunk.length);
  {
    using file = await Deno.open(path, { create: true, write: true });
    for (let index = 0; index < count; index++) await file.write(chunk);
  }
  const begun = performance.now();
  await using davit = start(davitArgv(["vitals", "report", path]), { env: davitEnv(), timeoutMs: 600_000 });
  let peakKib = 0;
  const watch = setInterval(() => peakKib = Math.max(peakKib, residentPeak(davit.pid)), 20);
  const { code, stderr } = await davit.done;
  clearInterval(watch);
  if (code !== 0) throw new Error(stderr);
  const perSecond = count * chunk.length / 1e3 / (performance.now() - begun);
  say(
    `${name.padEnd(40)} ${perSecond.toFixed(0).padStart(5)} MB/s   peak ${(peakKib / 1024).toFixed(0)} MiB`,
  );
}

function residentPeak(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1] ?? 0);
  } catch {
    return 0; // it has ended between two looks
  }
}

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

await measure("vitals only", WRAPPERS.bare!(timed(job)));
for (const name of ["bare", "CRI", "docker json-file", "GitHub job log", "logcli jsonl, newest first"]) {
  await measure(`a job's log, ${name}`, WRAPPERS[name]!(timed(mixed)));
}
