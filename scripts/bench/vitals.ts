/**
 * `deno run -A scripts/bench/vitals.ts [--samples 100] [--log MB]`: what sampling costs, beside a shell probe that
 * does what the peer's does (a line of the same fields, by cat, awk, grep and sleep, 26 forks), in the same run
 * on the same machine. Then whether memory stays flat over 100,000 samples of a whole probe at full speed, and how
 * fast a large log is read. Prints tables; asserts nothing.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { probeStart } from "../../lib/host/self.ts";
import { davitArgv, davitEnv, type LiveProcess, run, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { VitalsLog } from "../../testdata/vitals_log.ts";
import { ensurePackages } from "../packages.ts";

const INTERVAL_S = 1;
const MIB = 1024;
const LONG_MS = 3_600_000;
const FLAT_SAMPLES = 100_000;
/** Words between the program and the script: flags of the runtime that a probe has. */
const V8_FLAGS = probeStart().argv.find((word) => word.startsWith("--v8-flags="))!;

/** Each value by processes of its own, as shell scripts do it. */
const SHELL_PROBE = `
value() { cat "$1" 2>/dev/null; }
row() { awk -v name="$2" '$1 == name { print $2 }' "$1" 2>/dev/null; }
own=/sys/fs/cgroup
busy=0; all=0
while :; do
  line="$(date -u +%FT%TZ) RUNNER_VITALS"
  line="$line vm.mem.total.kb=$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
  line="$line vm.mem.avail.kb=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)"
  line="$line mem.current=$(value $own/memory.current) mem.peak=$(value $own/memory.peak)"
  line="$line mem.max=$(value $own/memory.max) mem.swap=$(value $own/memory.swap.current)"
  line="$line oom=$(row $own/memory.events oom) oom_kill=$(row $own/memory.events oom_kill)"
  set -- $(grep '^cpu ' /proc/stat | awk '{ for (i = 2; i <= NF; i++) t += $i; print t - $5 - $6, t }')
  [ "$all" -gt 0 ] && [ "$2" -gt "$all" ] && line="$line cpu.busy.pct=$((100 * ($1 - busy) / ($2 - all)))"
  busy=$1; all=$2
  line="$line cpu.psi.some.avg10=$(awk -F'[= ]' '/^some/ { print $3 }' /proc/pressure/cpu)"
  line="$line mem.psi.some.avg10=$(awk -F'[= ]' '/^some/ { print $3 }' /proc/pressure/memory)"
  line="$line mem.psi.full.avg10=$(awk -F'[= ]' '/^full/ { print $3 }' /proc/pressure/memory)"
  line="$line io.psi.some.avg10=$(awk -F'[= ]' '/^some/ { print $3 }' /proc/pressure/io)"
  line="$line load=$(cut -d' ' -f1-3 /proc/loadavg | tr ' ' ,)"
  echo "$line"
  sleep ${INTERVAL_S}
done`;

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** What a probe cost. */
interface Cost {
  /** CPU time of it and of all that it started, milliseconds. */
  readonly cpuMs: number;
  readonly anonymousKib: number;
  readonly fileKib: number;
}

/** Of a process and its ended children; clock ticks are hundredths of a second. */
function costOf(pid: number): Cost {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]!.split(" ");
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(stat[index]), 0);
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  return { cpuMs: 10 * ticks, anonymousKib: kib("RssAnon"), fileKib: kib("RssFile") };
}

/** Costs between the third sample and the last: a start is paid once. */
async function sampling(argv: readonly string[], samples: number): Promise<Cost & { bytes: number }> {
  await using probe = start(argv, { env: davitEnv(), timeoutMs: LONG_MS });
  await untilLines(probe, 3);
  const before = costOf(probe.pid);
  await untilLines(probe, 3 + samples);
  const after = costOf(probe.pid);
  const lines = samplesIn(probe.stdout()).slice(3);
  const bytes = lines.reduce((sum, line) => sum + line.length + 1, 0) / lines.length;
  return { ...after, cpuMs: (after.cpuMs - before.cpuMs) / samples, bytes };
}

/** The samples among the lines; the shell probe has nothing else. */
function samplesIn(text: string): string[] {
  return text.split("\n").slice(0, -1).filter((line) => !/ kind=(?!sample)/.test(line));
}

async function untilLines(probe: LiveProcess, count: number): Promise<void> {
  while (samplesIn(probe.stdout()).length < count) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Processes that a probe starts for a sample, by strace. */
async function forks(argv: readonly string[], seconds: number, dir: string): Promise<number> {
  const trace = `${dir}/trace`;
  const calls = "--trace=fork,vfork,clone,clone3,execve";
  await using probe = start(["strace", "-f", "-qq", calls, "-o", trace, ...argv], { env: davitEnv() });
  await untilLines(probe, 2);
  const count = async () => {
    const text = await Deno.readTextFile(trace);
    return text.split("\n").filter((line) =>
      /v?fork\(|clone3?\(/.test(line) && !line.includes("CLONE_THREAD")
    )
      .length;
  };
  const before = await count();
  const had = samplesIn(probe.stdout()).length;
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  return (await count() - before) / (samplesIn(probe.stdout()).length - had);
}

async function compare(samples: number, dir: string): Promise<void> {
  const shell = `${dir}/probe.sh`;
  await Deno.writeTextFile(shell, SHELL_PROBE);
  const [program, ...rest] = davitArgv(["vitals", "run", "--interval", String(INTERVAL_S)]);
  const ways = [
    { name: "shell probe", argv: ["bash", shell] },
    { name: "davit", argv: [program!, rest[0]!, V8_FLAGS, ...rest.slice(1)] },
    { name: "davit, V8's defaults", argv: [program!, ...rest] },
  ];
  const rows: string[][] = [["", "CPU a sample", "forks a sample", "anonymous", "file", "bytes a line"]];
  for (const { name, argv } of ways) {
    const cost = await sampling(argv, samples);
    rows.push([
      name,
      `${cost.cpuMs.toFixed(2)} ms`,
      (await forks(argv, 8, dir)).toFixed(1),
      `${(cost.anonymousKib / MIB).toFixed(1)} MiB`,
      `${(cost.fileKib / MIB).toFixed(1)} MiB`,
      cost.bytes.toFixed(0),
    ]);
  }
  table(rows);
}

async function flatness(): Promise<void> {
  const script = new URL("../../testdata/run_vitals_fast.ts", import.meta.url).pathname;
  const rows: string[][] = [["samples", "anonymous", "file", "CPU a sample"]];
  const counts = [FLAT_SAMPLES, FLAT_SAMPLES / 5].map(String);
  const discarding = ["sh", "-c", 'exec "$@" >/dev/null', "sh"];
  const argv = [...discarding, Deno.execPath(), "run", "-A", V8_FLAGS, script, ...counts];
  const { code, stderr } = await run(argv, { env: davitEnv(), timeoutMs: LONG_MS });
  if (code !== 0) throw new Error(stderr);
  for (const line of stderr.split("\n").filter((text) => /^\d+ \d+ \d+ \d+$/.test(text))) {
    const [count, anonymous, file, cpuMs] = line.split(" ").map(Number) as [number, number, number, number];
    const mib = (kib: number) => `${(kib / MIB).toFixed(1)} MiB`;
    rows.push([String(count), mib(anonymous), mib(file), `${(cpuMs / count).toFixed(2)} ms`]);
  }
  table(rows);
}

/** A log of `megabytes`, read by `vitals report`. */
async function reading(megabytes: number, dir: string): Promise<void> {
  const path = `${dir}/log`;
  const block = new TextEncoder().encode(new VitalsLog().start().samples(2_000).text());
  const count = Math.ceil(megabytes * 1e6 / block.length);
  {
    using file = await Deno.open(path, { create: true, write: true });
    for (let index = 0; index < count; index++) await file.write(block);
  }
  const begun = performance.now();
  await using davit = start(davitArgv(["vitals", "report", path]), { env: davitEnv(), timeoutMs: LONG_MS });
  let peak = { anonymousKib: 0, fileKib: 0 };
  const watch = setInterval(() => {
    try {
      const cost = costOf(davit.pid);
      if (cost.anonymousKib > peak.anonymousKib) peak = cost;
    } catch {
      return; // it has ended between two looks
    }
  }, 50);
  const { code, stderr } = await davit.done;
  clearInterval(watch);
  if (code !== 0) throw new Error(stderr);
  const seconds = (performance.now() - begun) / 1_000;
  const size = count * block.length / 1e6;
  table([
    ["log", "time", "speed", "anonymous, peak"],
    [
      `${size.toFixed(0)} MB`,
      `${seconds.toFixed(1)} s`,
      `${(size / seconds).toFixed(0)} MB/s`,
      `${(peak.anonymousKib / MIB).toFixed(0)} MiB`,
    ],
  ]);
}

function table(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows) say(`| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`);
  say("");
}

const { values: options } = parseArgs({
  args: Deno.args,
  options: { samples: { type: "string", default: "100" }, log: { type: "string", default: "2048" } },
});
await ensurePackages("test");
await using dir = await tempDir("bench-vitals");
await compare(Number(options.samples), dir.path);
await flatness();
await reading(Number(options.log), dir.path);
