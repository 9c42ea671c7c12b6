import assert from "node:assert/strict";
import type { Sample, SampleKey } from "./keys.ts";
import { formatTuistOom, formatTuistSample } from "./tuist.ts";

const WALL_MS = Date.UTC(2026, 10, 21, 0, 6, 54, 999);

Deno.test("formatTuistSample() is the peer's line, field by field", () => {
  const values: Sample = new Map<SampleKey, number | "max">([
    ["vm_mem_total_kb", 24684096],
    ["vm_mem_avail_kb", 23895608],
    ["mem_current", 1048576],
    ["mem_peak", 2097152],
    ["mem_max", "max"],
    ["mem_swap", 0],
    ["oom", 1],
    ["oom_kill", 2],
    ["cpu_busy_pct", 91.9],
    ["cpu_psi_some_avg10", 38.44],
    ["mem_psi_some_avg10", 0],
    ["mem_psi_full_avg10", 0.5],
    ["io_psi_some_avg10", 1.25],
    ["load1", 2.73],
    ["load5", 1.6],
    ["load15", 12],
    ["pids", 9],
    ["seq", 1],
  ]);
  assert.equal(
    formatTuistSample("RUNNER_VITALS", WALL_MS, values),
    "2026-11-21T00:06:54Z RUNNER_VITALS vm.mem.total.kb=24684096 vm.mem.avail.kb=23895608 mem.current=1048576 " +
      "mem.peak=2097152 mem.max=max mem.swap=0 oom=1 oom_kill=2 cpu.busy.pct=91 cpu.psi.some.avg10=38.44 " +
      "mem.psi.some.avg10=0.00 mem.psi.full.avg10=0.50 io.psi.some.avg10=1.25 load=2.73,1.60,12.00\n",
  );
  assert.equal(
    formatTuistSample("RUNNER_VITALS", WALL_MS, new Map()),
    "2026-11-21T00:06:54Z RUNNER_VITALS vm.mem.total.kb= vm.mem.avail.kb= mem.current= mem.peak= mem.max= mem.swap= " +
      "oom= oom_kill= load=\n",
  );
});

Deno.test("formatTuistSample() gives the line that the peer printed on a cgroup v1 machine", () => {
  const sample: Sample = new Map<SampleKey, number | "max">([
    ["vm_mem_total_kb", 24684096],
    ["vm_mem_avail_kb", 23895608],
    ["cpu_busy_pct", 91.2],
    ["cpu_psi_some_avg10", 38.44],
    ["mem_psi_some_avg10", 0],
    ["mem_psi_full_avg10", 0],
    ["io_psi_some_avg10", 1.25],
    ["load1", 2.73],
    ["load5", 1.63],
    ["load15", 0.84],
  ]);
  assert.equal(
    formatTuistSample("RUNNER_VITALS", WALL_MS, sample),
    "2026-11-21T00:06:54Z RUNNER_VITALS vm.mem.total.kb=24684096 vm.mem.avail.kb=23895608 mem.current= mem.peak= " +
      "mem.max= mem.swap= oom= oom_kill= cpu.busy.pct=91 cpu.psi.some.avg10=38.44 mem.psi.some.avg10=0.00 " +
      "mem.psi.full.avg10=0.00 io.psi.some.avg10=1.25 load=2.73,1.63,0.84\n",
  );
});

Deno.test("formatTuistOom() prints the record's text, on one line, bounded", () => {
  const text = "Memory cgroup out of memory: Killed process 27339 (sh) total-vm:100580kB, anon-rss:65032kB";
  assert.equal(
    formatTuistOom("RUNNER_VITALS", WALL_MS, text),
    `2026-11-21T00:06:54Z RUNNER_VITALS kmsg.oom ${text}\n`,
  );
  assert.equal(
    formatTuistOom("T", WALL_MS, "a\nb\x1b[31mc\u2028d"),
    "2026-11-21T00:06:54Z T kmsg.oom a b [31mc d\n",
  );
  assert.ok(new TextEncoder().encode(formatTuistOom("T", WALL_MS, "€".repeat(1e5))).length < 4096);
});
