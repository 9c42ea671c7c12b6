import assert from "node:assert/strict";
import "../../testdata/open_libc.ts";
import { needs, ptrace } from "../../testdata/needs.ts";
import { type LiveProcess, run, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { type V1Cgroup, v1Cgroup, v1Controllers } from "../../testdata/v1_cgroup.ts";
import { SAMPLE_KEYS } from "./keys.ts";
import { Sampler } from "./sample.ts";
import type { SourceChange } from "./source.ts";

const WAIT_MS = 20_000;
const PAUSE_MS = 20;

/** Samples until `isThere`, at a pace that a condition needs; fails when it never comes. */
async function sampleUntil<T>(look: () => T | undefined): Promise<T> {
  for (const deadline = performance.now() + WAIT_MS; performance.now() < deadline;) {
    const found = look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  throw new Error(`it did not happen within ${WAIT_MS} ms`);
}

function startIn(cgroup: V1Cgroup, script: string): LiveProcess {
  return start(["sh", "-c", `${cgroup.enter}; ${script}`]);
}

Deno.test("Sampler: this machine's own values make sense", async () => {
  using sampler = new Sampler({ workdir: Deno.cwd() });
  sampler.read();
  const sample = await sampleUntil(() => {
    const next = sampler.read();
    return next.has("cpu_busy_pct") ? next : undefined;
  });
  const number = (key: typeof SAMPLE_KEYS[number]) => Number(sample.get(key));
  assert.ok(number("vm_mem_avail_kb") > 0 && number("vm_mem_avail_kb") <= number("vm_mem_total_kb"));
  assert.ok(number("cpu_busy_pct") >= 0 && number("cpu_busy_pct") <= 100);
  assert.ok(number("load1") >= 0);
  assert.ok(number("fds") > 0);
  assert.ok(number("disk_root_avail_bytes") > 0);
  for (const [key, value] of sample) {
    assert.ok(value === "max" || (Number.isFinite(value) && value >= 0), key);
  }
});

Deno.test("Sampler: its files stay open, and there are few", async () => {
  const count = async () => (await Array.fromAsync(Deno.readDir("/proc/self/fd"))).length;
  const before = await count();
  {
    using sampler = new Sampler({ workdir: Deno.cwd() });
    sampler.read();
    const held = await count();
    for (let round = 0; round < 200; round++) sampler.read();
    assert.equal(await count(), held);
    assert.ok(held - before < 40, `${held - before} files`);
  }
  assert.equal(await count(), before);
});

Deno.test({
  ...needs({ programs: ["strace"], kernel: [ptrace] }),
  name: "Sampler: a sample is readings of open files and nothing else",
  async fn() {
    await using dir = await tempDir("strace");
    const url = (name: string) => new URL(name, import.meta.url).href;
    const script = `
      const { Sampler } = await import("${url("./sample.ts")}");
      const { formatSample } = await import("${url("./line.ts")}");
      const sampler = new Sampler({ workdir: "/" });
      const mark = (name) => { try { Deno.statSync("/mark-" + name); } catch { /* seen by strace */ } };
      const sample = () => formatSample("T", { wallMs: Date.now(), monoMs: 0 }, sampler.read(0));
      sample();
      mark("begin");
      for (let round = 0; round < 100; round++) sample();
      mark("end");`;
    const trace = dir.join("trace");
    // "?": not every architecture has it.
    const traced =
      "%process,?open,openat,?openat2,connect,socket,read,pread64,statfs,?stat,?statx,?newfstatat";
    const { code, stderr } = await run(
      ["strace", "-f", "-o", trace, "-e", `trace=${traced}`, Deno.execPath(), "eval", script],
    );
    assert.equal(code, 0, stderr);
    const text = await Deno.readTextFile(trace);
    const lines = text.slice(text.indexOf("/mark-begin"), text.indexOf("/mark-end")).split("\n").slice(1, -1);
    const calls = Map.groupBy(lines, (line) => /^\d+ +(?:<\.\.\. )?(\w+)/.exec(line)?.[1] ?? line);
    const count = (name: string) =>
      calls.get(name)?.filter((line) => !line.includes(" resumed>")).length ?? 0;
    assert.ok(count("read") >= 1000);
    assert.equal(count("statfs"), 300);
    // The engine and malloc look at a file of their own now and then; a sample that opened one would do it 100 times.
    assert.ok(count("openat") < 20, calls.get("openat")?.join("\n"));
    const others = [...calls.keys()]
      .filter((name) => !["read", "statfs", "openat", "clone3", "clone"].includes(name));
    assert.deepEqual(others, []);
    // A thread of the engine may be made meanwhile, a process never.
    const clones = [...calls.get("clone3") ?? [], ...calls.get("clone") ?? []];
    assert.ok(clones.every((line) => line.includes("CLONE_THREAD")), clones.join("\n"));
  },
});

Deno.test({
  ...needs({ root: true, kernel: [v1Controllers("memory", "cpu", "pids")] }),
  name: "Sampler: a real v1 cgroup's memory, quota and limit of tasks",
  async fn() {
    await using cgroup = await v1Cgroup(["memory", "cpu", "pids"]);
    await cgroup.set("memory", "limit_in_bytes", 64 << 20);
    await cgroup.set("cpu", "cfs_quota_us", 10_000);
    await cgroup.set("pids", "max", 8);
    await using busy = startIn(cgroup, "while :; do :; done");
    using sampler = new Sampler({ cgroup: cgroup.path });
    sampler.read();
    let beforeMs = performance.now();
    const { usec, elapsedMs } = await sampleUntil(() => {
      const usec = sampler.read().get("cpu_throttled_usec");
      const elapsedMs = performance.now() - beforeMs;
      beforeMs = performance.now();
      return typeof usec === "number" && usec > 0 ? { usec, elapsedMs } : undefined;
    });
    // The kernel books a throttled period when it ends, at most 100 ms after it began, on each of two run queues.
    assert.ok(
      usec < (elapsedMs + 200) * 1000 * navigator.hardwareConcurrency,
      `${usec} µs in ${elapsedMs} ms`,
    );
    const sample = sampler.read();
    assert.equal(sample.get("mem_max"), 64 << 20);
    assert.ok(Number(sample.get("mem_current")) > 0 && Number(sample.get("mem_current")) < 64 << 20);
    assert.equal(sample.get("pids"), 1);
    assert.equal(sample.get("pids_max"), 8);
    assert.equal(sample.get("oom_kill"), 0);
    busy.kill("SIGKILL");
    await busy.done;
  },
});

Deno.test({
  ...needs({ root: true, kernel: [v1Controllers("memory")] }),
  name: "Sampler: a real v1 OOM kill is counted, for the cgroup and the machine",
  async fn() {
    await using cgroup = await v1Cgroup(["memory"]);
    await cgroup.set("memory", "limit_in_bytes", 32 << 20);
    using sampler = new Sampler({ cgroup: cgroup.path });
    assert.equal(sampler.read().get("oom_kill"), 0);
    await using victim = startIn(cgroup, "x=x; while :; do x=$x$x; done");
    assert.equal((await victim.done).signal, "SIGKILL");
    const sample = sampler.read();
    assert.equal(sample.get("oom_kill"), 1);
    assert.ok(Number(sample.get("vm_oom_kill_events")) >= 1); // other tests may have victims of their own
    assert.ok(Number(sample.get("mem_max_events")) > 0);
    assert.ok(Number(sample.get("mem_peak")) > 30 << 20);
  },
});

Deno.test({
  ...needs({ root: true, kernel: [v1Controllers("pids")] }),
  name: "Sampler: forks that a real v1 limit of tasks refused are counted",
  async fn() {
    await using cgroup = await v1Cgroup(["pids"]);
    await cgroup.set("pids", "max", 2);
    using sampler = new Sampler({ cgroup: cgroup.path });
    sampler.read();
    await using crowd = startIn(cgroup, "sleep 600 & sleep 600 & wait");
    const refused = await sampleUntil(() => Number(sampler.read().get("pids_max_events")) || undefined);
    assert.ok(refused >= 1);
    crowd.kill("SIGKILL", { group: true });
  },
});

Deno.test({
  ...needs({ root: true, kernel: [v1Controllers("memory", "pids")] }),
  name:
    "Sampler: a cgroup that is removed is lost once for each hierarchy, and found again when it is made anew",
  async fn() {
    await using cgroup = await v1Cgroup(["memory", "pids"]);
    const changes: SourceChange[] = [];
    using sampler = new Sampler({
      cgroup: cgroup.path,
      onSourceChange: (change) => void changes.push(change),
    });
    assert.equal(sampler.read(0).get("pids"), 0);
    await cgroup.remove();
    for (let nowMs = 1000; nowMs <= 60_000; nowMs += 1000) {
      const sample = sampler.read(nowMs);
      assert.equal(sample.has("mem_current"), false);
      assert.equal(sample.has("vm_mem_total_kb"), true);
    }
    const lost = changes.filter(({ state }) => state === "lost").map(({ source, errno }) =>
      `${source} ${errno}`
    );
    assert.deepEqual(lost.sort(), [`${cgroup.dir("memory")} ENOENT`, `${cgroup.dir("pids")} ENOENT`]);
    assert.equal(changes.length, 2, JSON.stringify(changes));
    await cgroup.make();
    await cgroup.set("pids", "max", 5);
    const sample = [130_000, 200_000].map((nowMs) => sampler.read(nowMs)).at(-1)!;
    assert.equal(sample.get("pids_max"), 5);
    assert.equal(sample.get("oom_kill"), 0);
    assert.deepEqual(changes.slice(2), [{ source: cgroup.dir("memory"), state: "back" }]);
  },
});
