import assert from "node:assert/strict";
import "../../testdata/open_libc.ts";
import { writeMachine } from "../../testdata/machine_tree.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";
import { mountLine, writeTree } from "../../testdata/written_tree.ts";
import { type Sample, SAMPLE_KEYS, type SampleKey } from "./keys.ts";
import { Sampler, type SamplerOptions } from "./sample.ts";
import type { SourceChange } from "./source.ts";

/** Real statfs values, which differ from machine to machine. */
const DISK_KEYS = /^(?:disk|shm)_/;
const OF_THE_LOOP = ["late_ms", "seq", "lost"];

function samplerIn(dir: TempDir, options: Partial<SamplerOptions> = {}) {
  const changes: SourceChange[] = [];
  const onSourceChange = (change: SourceChange) => void changes.push(change);
  const places = { proc: dir.join("proc"), sys: dir.join("sys") };
  return { sampler: new Sampler({ ...places, onSourceChange, ...options }), changes };
}

const withoutDisks = (sample: Sample) =>
  Object.fromEntries(
    SAMPLE_KEYS.filter((key) => sample.has(key) && !DISK_KEYS.test(key)).map((key) => [key, sample.get(key)]),
  );

const FIRST = {
  vm_mem_total_kb: 16777216,
  vm_mem_avail_kb: 8388608,
  mem_current: 1048576,
  mem_peak: 2097152,
  mem_max: "max",
  mem_swap: 4096,
  oom: 7,
  oom_kill: 8,
  cpu_psi_some_avg10: 10.5,
  mem_psi_some_avg10: 1,
  mem_psi_full_avg10: 0.25,
  io_psi_some_avg10: 4,
  load1: 1.5,
  load5: 1.25,
  load15: 1,
  mem_anon_bytes: 111,
  mem_file_bytes: 222,
  mem_shmem_bytes: 33,
  pids: 12,
  pids_max: "max",
  fds: 640,
};

Deno.test("Sampler: the first sample has no deltas, the next has all of them", async () => {
  await using dir = await tempDir("sample");
  await writeMachine(dir.path);
  const { sampler, changes } = samplerIn(dir, { workdir: dir.path });
  using _ = sampler;
  assert.deepEqual(withoutDisks(sampler.read(0)), FIRST);
  await writeTree(dir.path, {
    "proc/stat": "cpu  1100 0 1050 8700 100 0 0 50 100 0\n",
    "proc/vmstat": "pgmajfault 15\noom_kill 4\n",
    "proc/diskstats": " 254 0 vda 1 0 110 0 1 0 220 0 0 0 0\n 254 1 vda1 1 0 110 0 1 0 220 0 0 0 0\n",
    "proc/pressure/cpu": "some avg10=10.50 avg60=0.00 avg300=0.00 total=1100\n",
    "proc/pressure/memory":
      "some avg10=1.00 avg60=0.00 avg300=0.00 total=2200\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=3300\n",
    "proc/pressure/io":
      "some avg10=4.00 avg60=0.00 avg300=0.00 total=4400\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=5500\n",
    "proc/self/net/dev":
      "    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n  eth0: 1010 0 0 0 0 0 0 0 2020 0 0 0 0 0 0 0\n",
    "cgroup/pod/c/memory.events": "low 0\nhigh 15\nmax 26\noom 8\noom_kill 9\noom_group_kill 0\n",
    "cgroup/pod/c/cpu.stat": "usage_usec 1\nnr_periods 5\nnr_throttled 1\nthrottled_usec 750\n",
    "cgroup/pod/c/pids.events": "max 4\n",
  });
  const second = sampler.read(3000);
  assert.deepEqual(withoutDisks(second), {
    ...FIRST,
    oom: 8,
    oom_kill: 9,
    cpu_busy_pct: 20, // of 1000 ticks 800 idle or waiting; the guest's 100 are among the user's
    cpu_steal_pct: 5,
    mem_high_events: 10,
    mem_max_events: 20,
    cpu_throttled_usec: 50,
    cpu_psi_some_usec: 100,
    mem_psi_some_usec: 200,
    mem_psi_full_usec: 300,
    io_psi_some_usec: 400,
    io_psi_full_usec: 500,
    net_rx_bytes: 10,
    net_tx_bytes: 20,
    io_read_bytes: 10 * 512,
    io_write_bytes: 20 * 512,
    vm_oom_kill_events: 1,
    vm_pgmajfault_events: 5,
    pids_max_events: 3,
  });
  const missing = SAMPLE_KEYS.filter((key) => !second.has(key) && !OF_THE_LOOP.includes(key));
  // A filesystem that makes inodes as they are needed counts none.
  assert.deepEqual(missing.filter((key) => !key.endsWith("_inodes")), []);
  assert.deepEqual(changes, []);
});

Deno.test("Sampler: cgroup v1 has its own files and units", async () => {
  await using dir = await tempDir("sample");
  const mount = (name: string) => mountLine(dir.join("cgroup", name), "cgroup", { options: `rw,${name}` });
  await writeMachine(dir.path, {
    "proc/self/mountinfo": mountLine("/", "ext4") + mount("memory") + mount("cpu") + mount("pids"),
    "proc/self/cgroup": "4:memory:/job\n3:cpu:/job\n2:pids:/\n",
    "cgroup/memory/job/memory.usage_in_bytes": "5000\n",
    "cgroup/memory/job/memory.max_usage_in_bytes": "6000\n",
    "cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n",
    "cgroup/memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "cgroup/memory/job/memory.failcnt": "100\n",
    "cgroup/memory/job/memory.stat":
      "cache 1\nrss 2\nshmem 3\nswap 4\ntotal_cache 40\ntotal_rss 50\ntotal_shmem 20\ntotal_swap 7\n",
    "cgroup/cpu/job/cpu.stat": "nr_periods 1\nnr_throttled 1\nthrottled_time 1000000\n",
    "cgroup/pids/cgroup.procs": "4711\n",
  });
  const { sampler, changes } = samplerIn(dir);
  using _ = sampler;
  sampler.read(0);
  await writeTree(dir.path, {
    "cgroup/memory/job/memory.failcnt": "127\n",
    "cgroup/cpu/job/cpu.stat": "nr_periods 1\nnr_throttled 1\nthrottled_time 4500000\n",
  });
  const sample = sampler.read(1000);
  const expected: Partial<Record<SampleKey, number | "max">> = {
    mem_current: 5000,
    mem_peak: 6000,
    mem_max: "max",
    mem_swap: 7,
    oom_kill: 2,
    mem_max_events: 27,
    mem_anon_bytes: 50,
    mem_file_bytes: 40,
    mem_shmem_bytes: 20,
    cpu_throttled_usec: 3500,
    pids: 321, // at the root: all tasks of the machine
    pids_max: 32768,
  };
  for (const [key, value] of Object.entries(expected)) assert.equal(sample.get(key as SampleKey), value, key);
  for (const key of ["oom", "mem_high_events", "pids_max_events"] as const) {
    assert.equal(sample.has(key), false, key);
  }
  assert.deepEqual(changes, []);
});

Deno.test("Sampler: a limit of the machine's memory or more is none", async () => {
  await using dir = await tempDir("sample");
  await writeMachine(dir.path, { "cgroup/pod/c/memory.max": `${16 * 2 ** 30}\n` });
  const { sampler } = samplerIn(dir);
  using _ = sampler;
  assert.equal(sampler.read(0).get("mem_max"), "max");
  await writeTree(dir.path, { "cgroup/pod/c/memory.max": "67108864\n" });
  assert.equal(sampler.read(1).get("mem_max"), 67108864);
  // The machine grew: a virtual machine's memory may be plugged in while it runs.
  await writeTree(dir.path, {
    "cgroup/pod/c/memory.max": `${16 * 2 ** 30}\n`,
    "proc/meminfo": "MemTotal: 33554432 kB\n",
  });
  assert.equal(sampler.read(2).get("mem_max"), 16 * 2 ** 30);
});

Deno.test("Sampler: each source may be missing or senseless, and costs its own keys only", async (t) => {
  const OWN: Record<string, RegExp> = {
    "proc/meminfo": /^vm_mem/,
    "proc/stat": /^cpu_(?:busy|steal)/,
    "proc/loadavg": /^load/,
    "proc/vmstat": /^vm_(?:oom|pgmajfault)/,
    "proc/diskstats": /^io_(?:read|write)/,
    "proc/pressure/cpu": /^cpu_psi/,
    "proc/pressure/memory": /^mem_psi/,
    "proc/pressure/io": /^io_psi/,
    "proc/sys/fs/file-nr": /^fds$/,
    "proc/self/net/dev": /^net_/,
    "cgroup/pod/c/memory.current": /^mem_current$/,
    "cgroup/pod/c/memory.peak": /^mem_peak$/,
    "cgroup/pod/c/memory.max": /^mem_max$/,
    "cgroup/pod/c/memory.swap.current": /^mem_swap$/,
    "cgroup/pod/c/memory.events": /^(?:oom|oom_kill|mem_high_events|mem_max_events)$/,
    "cgroup/pod/c/memory.stat": /^mem_(?:anon|file|shmem)_bytes$/,
    "cgroup/pod/c/cpu.stat": /^cpu_throttled/,
    "cgroup/pod/c/pids.current": /^pids$/,
    "cgroup/pod/c/pids.max": /^pids_max$/,
    "cgroup/pod/c/pids.events": /^pids_max_events$/,
  };
  await using dir = await tempDir("sample");
  await writeMachine(dir.path);
  const wholeKeys = keysOfSecond(dir);
  for (const [path, own] of Object.entries(OWN)) {
    await t.step(path, async () => {
      const text = await Deno.readTextFile(dir.join(path));
      assert.ok(wholeKeys.some((key) => own.test(key)));
      await Deno.remove(dir.join(path));
      const others = wholeKeys.filter((key) => !own.test(key));
      assert.deepEqual(keysOfSecond(dir), others);
      // A table without devices says that there is no traffic.
      const isTraffic = own.test("net_rx_bytes") || own.test("io_read_bytes");
      for (const garbage of ["", "\0\xff garbage\n\n: = x", "-12"]) {
        await Deno.writeTextFile(dir.join(path), garbage);
        assert.deepEqual(keysOfSecond(dir), isTraffic ? wholeKeys : others, JSON.stringify(garbage));
      }
      await Deno.writeTextFile(dir.join(path), text);
    });
  }
});

function keysOfSecond(dir: TempDir): SampleKey[] {
  const { sampler } = samplerIn(dir);
  using _ = sampler;
  sampler.read(0);
  // One tick of CPU time between the two readings.
  const stat = dir.join("proc/stat");
  let before: string | undefined;
  try {
    before = Deno.readTextFileSync(stat);
    Deno.writeTextFileSync(stat, before.replace("8000", "8001"));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const sample = sampler.read(1000);
  if (before !== undefined) Deno.writeTextFileSync(stat, before);
  return SAMPLE_KEYS.filter((key) => sample.has(key));
}

Deno.test("Sampler: a counter that began anew or was missed once has no delta", async () => {
  await using dir = await tempDir("sample");
  await writeMachine(dir.path);
  const { sampler } = samplerIn(dir);
  using _ = sampler;
  const vmstat = (count: number) => writeTree(dir.path, { "proc/vmstat": `pgmajfault ${count}\n` });
  const delta = (nowMs: number) => sampler.read(nowMs).get("vm_pgmajfault_events");
  assert.equal(delta(0), undefined);
  await vmstat(11);
  assert.equal(delta(1), 1);
  await vmstat(3);
  assert.equal(delta(2), undefined);
  await vmstat(5);
  assert.equal(delta(3), 2);
  await writeTree(dir.path, { "proc/vmstat": "other 1\n" });
  assert.equal(delta(4), undefined);
  await vmstat(100);
  assert.equal(delta(5), undefined); // it would be the work of two intervals
  await vmstat(101);
  assert.equal(delta(6), 1);
});

Deno.test("Sampler: a machine with nothing to read gives an empty sample", async () => {
  await using dir = await tempDir("sample");
  const { sampler, changes } = samplerIn(dir, { cgroupRoot: dir.join("none"), shm: dir.join("shm") });
  using _ = sampler;
  assert.deepEqual([...sampler.read(0)], []);
  assert.deepEqual([...sampler.read(5000)], []);
  assert.deepEqual(changes, []);
  assert.equal(sampler.cgroup.version, "none");
});
