import assert from "node:assert/strict";
import "../../testdata/open_libc.ts";
import { writeMachine } from "../../testdata/machine_tree.ts";
import { tempDir } from "../../testdata/temp.ts";
import { VERSION } from "../version.ts";
import { formatLine } from "./line.ts";
import { Sampler } from "./sample.ts";
import { startFields } from "./start_facts.ts";

type Environment = Record<string, string>;

async function factsOf(env: Environment, changes: Record<string, string> = {}) {
  await using dir = await tempDir("facts");
  await writeMachine(dir.path, changes);
  using sampler = new Sampler({ proc: dir.join("proc"), sys: dir.join("sys"), workdir: dir.path });
  return startFields({
    env,
    sampler,
    intervalMs: 3000,
    mode: "alone",
    kmsg: "denied",
    gpus: 8,
    proc: dir.join("proc"),
  });
}

Deno.test("startFields() tells the machine, its cgroup and limits, in the line's order", async () => {
  const facts = await factsOf({});
  const { disk_root_bytes, disk_root_inodes, disk_work_bytes, disk_work_inodes, shm_bytes, ...rest } = facts;
  assert.deepEqual(rest, {
    seq: 0,
    version: VERSION,
    boot_id: "567b7dcd-98d5-421f-b0f4-bed6577f8ed7",
    interval_ms: 3000,
    hostname: Deno.hostname(),
    runner: undefined,
    pod: undefined,
    run_id: undefined,
    slurm_job: undefined,
    cgroup: "/pod/c",
    cgroup_version: "v2",
    cgroup_verified: false, // the written cgroup.procs has another process
    cgroup_namespaced: false,
    cgroup_ancestors: "visible",
    mem_max: "max",
    mem_limit_effective_bytes: 2 ** 30, // the pod's
    cpu_quota_cores: 2,
    pids_max: "max",
    kmsg: "denied",
    psi: "ok",
    gpus: 8,
    cpus: 2,
    oom_score_adj: -997,
    pid: Deno.pid,
    mode: "alone",
    disk_root_fs: "ext4",
    disk_work_fs: "ext4",
  });
  for (const size of [disk_root_bytes, disk_work_bytes, shm_bytes]) assert.ok(Number(size) > 0);
  for (const count of [disk_root_inodes, disk_work_inodes]) {
    assert.ok(count === undefined || Number(count) > 0);
  }
  assert.ok(
    formatLine("T", "start", { wallMs: 0, monoMs: 0 }, facts).startsWith(
      `T kind=start ts=1970-01-01T00:00:00.000Z mono_ms=0 seq=0 version=${VERSION} boot_id=`,
    ),
  );
});

Deno.test("startFields() names runner, pod, run and job from the environment", async (t) => {
  const rows: [Environment, Record<string, string | undefined>][] = [
    [{ RUNNER_NAME: "gpu-7", GITHUB_RUN_ID: "42", SLURM_JOB_ID: "9" }, {
      runner: "gpu-7",
      run_id: "42",
      slurm_job: "9",
    }],
    [{ POD_NAME: "runner-x", HOSTNAME: "node1", KUBERNETES_SERVICE_HOST: "10.0.0.1" }, { pod: "runner-x" }],
    [{ HOSTNAME: "runner-y", KUBERNETES_SERVICE_HOST: "10.0.0.1" }, { pod: "runner-y" }],
    [{ HOSTNAME: "workstation" }, { pod: undefined }],
    [{ RUNNER_NAME: "", POD_NAME: "", GITHUB_RUN_ID: "", SLURM_JOB_ID: "" }, {}],
  ];
  for (const [env, expected] of rows) {
    await t.step(JSON.stringify(env), async () => {
      const { runner, pod, run_id, slurm_job } = await factsOf(env);
      assert.deepEqual(
        { runner, pod, run_id, slurm_job },
        { runner: undefined, pod: undefined, run_id: undefined, slurm_job: undefined, ...expected },
      );
    });
  }
});

Deno.test("startFields(): hostile names make one bounded line", async () => {
  const facts = await factsOf({ RUNNER_NAME: "\x1b[31m\n".repeat(5000), POD_NAME: 'a" kind=end' });
  const line = formatLine("T", "start", { wallMs: 0, monoMs: 0 }, facts);
  assert.ok(new TextEncoder().encode(line).length < 4096);
  assert.equal(line.indexOf("\n"), line.length - 1);
  assert.match(line, / pod="a\\" kind=end" /);
  assert.match(line, / mode=alone /);
});

Deno.test("startFields() on a machine of which nothing can be read", async () => {
  await using dir = await tempDir("facts");
  const proc = dir.join("proc");
  using sampler = new Sampler({ proc, sys: dir.join("sys"), cgroupRoot: dir.join("cgroup") });
  const facts = startFields({ env: {}, sampler, intervalMs: 1, mode: "command", kmsg: "absent", proc });
  const known = Object.entries(facts).filter(([, value]) => value !== undefined).map(([key]) => key);
  assert.deepEqual(
    known.join(" "),
    "seq version interval_ms hostname cgroup cgroup_version cgroup_verified cgroup_namespaced cgroup_ancestors " +
      "kmsg psi pid mode",
  );
  assert.equal(facts.psi, "absent");
  assert.equal(facts.cgroup_version, "none");
});
