import assert from "node:assert/strict";
import { isSampleKey, KEY_TABLE, type KeySpec, keySpec, SAMPLE_KEYS } from "./keys.ts";

/** Existing queries and dashboards name these; a change of name or order is one for everybody who reads logs. */
const ORDER = `
  vm_mem_total_kb vm_mem_avail_kb mem_current mem_peak mem_max mem_swap oom oom_kill cpu_busy_pct
  cpu_psi_some_avg10 mem_psi_some_avg10 mem_psi_full_avg10 io_psi_some_avg10 load1 load5 load15
  mem_high_events mem_max_events mem_anon_bytes mem_file_bytes mem_shmem_bytes cpu_throttled_usec cpu_steal_pct
  cpu_psi_some_usec mem_psi_some_usec mem_psi_full_usec io_psi_some_usec io_psi_full_usec pids pids_max fds
  disk_root_avail_bytes disk_root_avail_inodes disk_work_avail_bytes disk_work_avail_inodes shm_avail_bytes
  net_rx_bytes net_tx_bytes io_read_bytes io_write_bytes
  vm_oom_kill_events vm_pgmajfault_events pids_max_events
  late_ms seq lost`.trim().split(/\s+/);

/** tuist's names in its order; its `load` is made of three keys. */
const TUIST = `
  vm.mem.total.kb vm.mem.avail.kb mem.current mem.peak mem.max mem.swap oom oom_kill cpu.busy.pct
  cpu.psi.some.avg10 mem.psi.some.avg10 mem.psi.full.avg10 io.psi.some.avg10`.trim().split(/\s+/);

Deno.test("the keys keep their names and their order", () => {
  assert.deepEqual(SAMPLE_KEYS, ORDER);
  assert.equal(new Set(SAMPLE_KEYS).size, SAMPLE_KEYS.length);
});

Deno.test("tuist's fields come first, and Loki makes our names of theirs", () => {
  const table: readonly KeySpec[] = KEY_TABLE;
  assert.deepEqual(table.flatMap(({ tuist }) => tuist ?? []), TUIST);
  for (const { key, tuist } of table) if (tuist !== undefined) assert.equal(key, tuist.replaceAll(".", "_"));
});

Deno.test("every key fits Loki and Prometheus, and has its unit in its name", () => {
  const SUFFIX: Record<string, string> = {
    microseconds: "_usec",
    milliseconds: "_ms",
    percent: "_(?:pct|avg10)",
    kibibytes: "_kb",
  };
  for (const { key, unit, kind, help } of KEY_TABLE as readonly KeySpec[]) {
    assert.match(key, /^[a-z][a-z0-9_]*$/);
    assert.match(help, /^[A-Z/].*[^.]$/, key);
    if (SUFFIX[unit] !== undefined) assert.match(key, new RegExp(`${SUFFIX[unit]}$`), key);
    if (/_(?:usec|events)$/.test(key)) assert.equal(kind, "delta", key);
  }
});

Deno.test("keySpec() and isSampleKey() know the table and nothing else", () => {
  assert.equal(keySpec("mem_current")?.unit, "bytes");
  assert.equal(isSampleKey("seq"), true);
  for (const key of ["", "memcurrent", "__proto__", "kind"]) {
    assert.equal(keySpec(key), undefined);
    assert.equal(isSampleKey(key), false);
  }
});
