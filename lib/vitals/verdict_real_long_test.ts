/**
 * Verdicts on real logs of what takes its time: a CPU quota that holds a job back, a probe that is stopped, a job
 * that goes on without a part of it or without its probe.
 *
 * @module
 */
import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { classesOf, reportOn, startWatched } from "../../testdata/real_death.ts";
import { davitArgv, davitEnv, start } from "../../testdata/run.ts";
import { v1Cgroup, v1Controllers } from "../../testdata/v1_cgroup.ts";

const SECOND_MS = 1_000;
const ENOUGH_FOR_DAVIT = 400 << 20;

Deno.test({
  name: "a job that its CPU quota holds back: cpu_throttled",
  ...needs({ root: true, kernel: [v1Controllers("cpu")] }),
  async fn() {
    await using cgroup = await v1Cgroup(["cpu"]);
    await cgroup.set("cpu", "cfs_quota_us", 10_000);
    await using _busy = start(["sh", "-c", `${cgroup.enter}; while :; do :; done`]);
    await using davit = startWatched(["--cgroup", cgroup.path]);
    await davit.waitFor(/ mono_ms=1[4-9]\d{3} /, 60 * SECOND_MS);
    davit.kill("SIGTERM");
    const log = await reportOn((await davit.done).stdout);
    assert.deepEqual(classesOf(log), ["cpu_throttled", "polite_end"], log.summary);
  },
});

Deno.test("a probe that is stopped for a while: frozen", async () => {
  await using davit = startWatched([]);
  await davit.waitFor(/ mono_ms=[1-9]\d{3} /, 30 * SECOND_MS);
  davit.kill("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 17 * SECOND_MS));
  davit.kill("SIGCONT");
  await davit.waitFor(/event=resume/, 30 * SECOND_MS);
  await davit.waitFor(/ mono_ms=(?:19|[2-9]\d)\d{3} /, 30 * SECOND_MS);
  davit.kill("SIGTERM");
  const log = await reportOn((await davit.done).stdout);
  assert.deepEqual(classesOf(log), ["frozen", "polite_end"], log.summary);
});

Deno.test({
  name: "a job that lost a part and failed much later: oom_contained",
  ...needs({ root: true, kernel: [v1Controllers("memory")] }),
  async fn() {
    await using cgroup = await v1Cgroup(["memory"]);
    await cgroup.set("memory", "limit_in_bytes", ENOUGH_FOR_DAVIT);
    const job = ["sh", "-c", "sleep 1; tail /dev/zero; sleep 20; exit 1"];
    await using davit = startWatched(["--", ...job], { prepare: cgroup.enter });
    const { code, stdout } = await davit.done;
    assert.equal(code, 1);
    const log = await reportOn(stdout);
    assert.deepEqual(classesOf(log), ["oom_contained"], log.summary);
    assert.match(log.summary, /went on, until it ended with 1/);
  },
});

Deno.test("a probe that is killed while its job goes on to print, as a container's log has it: probe_stopped", async () => {
  const script = `
    ( "$@" & sleep 2; kill -9 $!; i=0; while [ $i -lt 20 ]; do echo "step $i"; sleep 1; i=$((i+1)); done ) |
    while read -r line; do echo "$(date -u +%FT%T.%NZ) stdout F $line"; done`;
  const probe = davitArgv(["vitals", "run", "--interval", "200ms"]);
  await using job = start(["sh", "-c", script, "sh", ...probe], { env: davitEnv() });
  const log = await reportOn((await job.done).stdout);
  assert.deepEqual([classesOf(log), log.confidence], [["probe_stopped"], "high"], log.summary);
});
