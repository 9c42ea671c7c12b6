import assert from "node:assert/strict";
import { needs } from "../testdata/needs.ts";
import { davit, davitArgv, davitEnv, run } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { v1Cgroup, v1Controllers } from "../testdata/v1_cgroup.ts";

Deno.test("vitals once: text for people", async () => {
  const { code, stdout, stderr } = await davit(["vitals", "once"], { env: { RUNNER_NAME: "gpu\x1b[31m" } });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^cgroup_version +(?:v1|v2|hybrid|none)$/m);
  assert.match(stdout, /^runner +gpu\\u001b\[31m$/m);
  assert.match(stdout, /^vm_mem_avail_kb +[\d.]+ GB +\S/m);
  assert.match(stdout, /^cpu_busy_pct +[\d.]+ % /m);
  assert.match(stdout, /^cpu_psi_some_usec +[\d.]+ ms .*within 250 ms$/m);
  assert.ok(stdout.split("\n").every((line) => line.length < 120), stdout);
  assert.equal(stderr, "");
});

Deno.test("vitals once --json: facts, sample, and what is absent", async () => {
  await using dir = await tempDir("once");
  const { code, stdout, stderr } = await davit(["vitals", "once", "--json", "--workdir", "."], {
    env: { RUNNER_NAME: "gpu-7", SLURM_JOB_ID: "9" },
    cwd: dir.path,
  });
  assert.equal(code, 0, stderr);
  const { facts, sample, absent, lost } = JSON.parse(stdout);
  assert.equal(facts.runner, "gpu-7");
  assert.equal(facts.slurm_job, "9");
  assert.equal(facts.mode, "once");
  assert.equal(typeof sample.cpu_busy_pct, "number");
  assert.equal(typeof sample.disk_work_avail_bytes, "number");
  assert.ok(absent.every((key: string) => !(key in sample)));
  assert.deepEqual(lost, []);
});

Deno.test("vitals once takes the settings of vitals run", async () => {
  await using dir = await tempDir("once-settings");
  await Deno.writeTextFile(dir.join("config.yaml"), "vitals:\n  workdir: /proc\n");
  const fsOf = async (args: readonly string[], env: Record<string, string> = {}) => {
    const DAVIT_CONFIG = dir.join("config.yaml");
    const { stdout } = await davit(["vitals", "once", "--json", ...args], { env: { DAVIT_CONFIG, ...env } });
    return JSON.parse(stdout).facts.disk_work_fs;
  };
  assert.equal(await fsOf([]), "proc");
  assert.equal(await fsOf([], { DAVIT_VITALS_WORKDIR: "/sys" }), "sysfs");
  assert.equal(await fsOf(["--workdir", "/proc"], { DAVIT_VITALS_WORKDIR: "/sys" }), "proc");
});

Deno.test("vitals once: a cgroup or a directory that is not there", async (t) => {
  for (
    const [args, exit, code] of [
      [["--cgroup", "/none/such"], 66, "no_cgroup"],
      [["--workdir", "/none/such"], 66, "no_workdir"],
      [["--cgroup", ""], 64, "usage"],
      [["--workdir", ""], 64, "usage"],
    ] as const
  ) {
    await t.step(args.join(" "), async () => {
      const result = await davit(["vitals", "once", ...args, "--json"]);
      assert.equal(result.code, exit, result.stderr);
      assert.equal(JSON.parse(result.stderr).error.code, code);
      assert.equal(result.stdout, "");
    });
  }
});

Deno.test({
  ...needs({ root: true, kernel: [v1Controllers("memory", "cpu", "pids")] }),
  name: "vitals once: in a real v1 cgroup with limits, below a tighter one",
  async fn() {
    await using pod = await v1Cgroup(["memory", "cpu", "pids"]);
    await pod.set("memory", "limit_in_bytes", 1 << 30);
    await using container = await v1Cgroup(["memory", "cpu", "pids"], `${pod.path}/c`);
    await container.set("memory", "limit_in_bytes", 2 ** 31);
    await container.set("cpu", "cfs_quota_us", 150_000);
    await container.set("pids", "max", 500);
    const { code, stdout, stderr } = await run(
      ["sh", "-c", `${container.enter}; exec "$@"`, "sh", ...davitArgv(["vitals", "once", "--json"])],
      { env: davitEnv() },
    );
    assert.equal(code, 0, stderr);
    const { facts, sample } = JSON.parse(stdout);
    assert.equal(facts.cgroup, container.path);
    assert.equal(facts.cgroup_verified, true);
    assert.match(facts.cgroup_version, /^(?:v1|hybrid)$/);
    assert.equal(facts.mem_max, 2 ** 31);
    assert.equal(facts.mem_limit_effective_bytes, 1 << 30);
    assert.equal(facts.cpu_quota_cores, 1.5);
    assert.equal(facts.pids_max, 500);
    assert.equal(sample.mem_max, 2 ** 31);
    assert.ok(sample.mem_current > 1 << 20 && sample.mem_current < 1 << 30);
    assert.ok(sample.pids >= 1 && sample.pids < 500);
    assert.equal(sample.oom_kill, 0);
    assert.equal(typeof sample.cpu_throttled_usec, "number");
  },
});

Deno.test({
  ...needs({ root: true, kernel: [v1Controllers("memory", "pids")] }),
  name: "vitals once --cgroup: a sidecar looks at its sibling",
  async fn() {
    await using sibling = await v1Cgroup(["memory", "pids"]);
    await sibling.set("pids", "max", 44);
    for (const given of [sibling.path, sibling.dir("memory"), `${sibling.dir("pids")}/`]) {
      const { code, stdout, stderr } = await davit(["vitals", "once", "--json", "--cgroup", given]);
      assert.equal(code, 0, stderr);
      const { facts, sample } = JSON.parse(stdout);
      assert.equal(facts.cgroup, sibling.path);
      assert.equal(sample.pids_max, 44);
      assert.equal(sample.pids, 0);
    }
  },
});
