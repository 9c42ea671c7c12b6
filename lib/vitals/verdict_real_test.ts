/**
 * Verdicts on logs of limits that are really reached: of memory, of a filesystem, of tasks. Each time all that the
 * rules made of the log is compared, so that no neighbour's rule took it for its own.
 *
 * @module
 */
import assert from "node:assert/strict";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { classesOf, lastMsOf, reportOn, startWatched } from "../../testdata/real_death.ts";
import { start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { type V1Cgroup, v1Cgroup, v1Controllers } from "../../testdata/v1_cgroup.ts";

const ENOUGH_FOR_DAVIT = 400 << 20;
const MEMORY = needs({ root: true, kernel: [v1Controllers("memory")] });
/** The kernel kills the probe first, which has a successor; the job is next. */
const HUNGRY = ["--", "sh", "-c", "sleep 1; exec tail /dev/zero"];

Deno.test({
  name: "a job that its cgroup's limit killed: oom_own, in the end line and in the report",
  ...MEMORY,
  async fn() {
    await using cgroup = await v1Cgroup(["memory"]);
    await cgroup.set("memory", "limit_in_bytes", ENOUGH_FOR_DAVIT);
    await using davit = startWatched(HUNGRY, { prepare: cgroup.enter });
    const { code, stdout } = await davit.done;
    assert.equal(code, 137);
    assert.match(stdout, /kind=end .* code=137 .*verdict=oom_own/);
    const log = await reportOn(stdout);
    assert.equal(log.class, "oom_own", log.summary);
    assert.deepEqual(classesOf(log).filter((name) => name !== "oom_contained"), ["oom_own"]);
    assert.equal(log.torn, 0);
    assert.match(log.summary, /killed tail \(pid \d+\)/);
    // Somebody who writes down whole seconds is before the probe's successor.
    const ended = new Date(Math.floor(lastMsOf(stdout) / 1_000) * 1_000).toISOString();
    assert.equal((await reportOn(stdout, ["--ended", ended, "--job-exit", "137"])).class, "oom_own");
  },
});

Deno.test({
  name: "the same where the kernel log may not be read: oom_own, by the counters of before",
  ...needs({ root: true, programs: ["setpriv"], kernel: [v1Controllers("memory"), dmesgIsRestricted()] }),
  async fn() {
    await using cgroup = await v1Cgroup(["memory"]);
    await cgroup.set("memory", "limit_in_bytes", ENOUGH_FOR_DAVIT);
    const prepare = `${cgroup.enter}; set -- setpriv --bounding-set=-syslog,-sys_admin "$@"`;
    await using davit = startWatched(HUNGRY, { prepare });
    const { code, stdout } = await davit.done;
    assert.equal(code, 137);
    assert.match(stdout, /kind=start .* kmsg=denied /);
    assert.match(stdout, /kind=end .* code=137 .*verdict=oom_own/);
    assert.deepEqual(classesOf(await reportOn(stdout)), ["oom_own"]);
  },
});

Deno.test({
  name: "a job that survives the kill of a part: clean_end, and oom_contained beside it",
  ...MEMORY,
  async fn() {
    await using cgroup = await v1Cgroup(["memory"]);
    await cgroup.set("memory", "limit_in_bytes", ENOUGH_FOR_DAVIT);
    const job = ["sh", "-c", "sleep 1; tail /dev/zero; sleep 1; exit 0"];
    await using davit = startWatched(["--", ...job], { prepare: cgroup.enter });
    const { code, stdout } = await davit.done;
    assert.equal(code, 0);
    assert.deepEqual(classesOf(await reportOn(stdout)), ["clean_end", "oom_contained"]);
  },
});

Deno.test({
  name: "a job that the limit above its cgroup killed: oom_ancestor",
  ...MEMORY,
  async fn() {
    await using pod = await v1Cgroup(["memory"]);
    await pod.set("memory", "limit_in_bytes", ENOUGH_FOR_DAVIT);
    await using container = await v1Cgroup(["memory"], `${pod.path}/container`);
    await using davit = startWatched(HUNGRY, { prepare: container.enter });
    const { code, stdout } = await davit.done;
    assert.equal(code, 137);
    const log = await reportOn(stdout);
    assert.equal(log.class, "oom_ancestor", log.summary);
    assert.deepEqual(classesOf(log).filter((name) => name !== "oom_contained"), ["oom_ancestor"]);
  },
});

/** A probe beside a container, which sees a process die in `where`, and is then asked to end. */
async function watchKillIn(where: V1Cgroup, container: V1Cgroup): Promise<string> {
  await using davit = startWatched(["--cgroup", container.path]);
  await davit.waitFor(/kind=sample/);
  await using victim = start(["sh", "-c", `${where.enter}; exec tail /dev/zero`]);
  assert.equal((await victim.done).signal, "SIGKILL");
  await davit.waitFor(new RegExp(`event=oom .*pid=${victim.pid} `));
  davit.kill("SIGTERM");
  return (await davit.done).stdout;
}

Deno.test({
  name: "seen from beside: the container's own kill is its end, its neighbour's is not",
  ...MEMORY,
  async fn(t) {
    await using pod = await v1Cgroup(["memory"]);
    await pod.set("memory", "limit_in_bytes", 64 << 20);
    await using container = await v1Cgroup(["memory"], `${pod.path}/container`);
    await using neighbour = await v1Cgroup(["memory"], `${pod.path}/neighbour`);
    const report = async (text: string) => {
      const ended = new Date(lastMsOf(text)).toISOString();
      return classesOf(await reportOn(text, ["--job-exit", "137", "--ended", ended]));
    };
    await t.step("neighbour", async () => {
      const text = await watchKillIn(neighbour, container);
      assert.match(text, /event=oom scope=ancestor .*own_victim=false/);
      assert.deepEqual(await report(text), ["polite_end"]);
    });
    await t.step("container", async () => {
      const text = await watchKillIn(container, container);
      assert.deepEqual(await report(text), ["oom_ancestor", "polite_end"]);
    });
    await t.step("container, its own limit", async () => {
      await container.set("memory", "limit_in_bytes", 16 << 20);
      const text = await watchKillIn(container, container);
      assert.deepEqual(await report(text), ["oom_own", "polite_end"]);
    });
  },
});

const FILLINGS = [
  {
    sees: "disk_full",
    mount: "mount -t tmpfs -o size=64m tmpfs DIR",
    fill: "dd if=/dev/zero of=DIR/x bs=1M 2>/dev/null",
  },
  {
    sees: "inodes_full",
    mount: "mount -t tmpfs -o size=64m,nr_inodes=300 tmpfs DIR",
    fill: "i=0; while true >DIR/$i; do i=$((i+1)); done 2>/dev/null",
  },
  {
    sees: "shm_full",
    mount: "mount -t tmpfs -o size=16m tmpfs /dev/shm",
    fill: "dd if=/dev/zero of=/dev/shm/x bs=1M 2>/dev/null",
  },
] as const;

for (const { sees, mount, fill } of FILLINGS) {
  Deno.test({
    name: `a filesystem that the job fills: ${sees}`,
    ...needs({ root: true, kernel: [privateMounts] }),
    async fn() {
      await using dir = await tempDir("death");
      const inDir = (text: string) => text.replaceAll("DIR", dir.path);
      const job = ["sh", "-c", `sleep 1; ${inDir(fill)}; sleep 1; exit 1`];
      await using davit = startWatched(["--workdir", dir.path, "--", ...job], {
        prepare: inDir(mount),
        unshare: ["--mount"],
      });
      const { code, stdout } = await davit.done;
      assert.equal(code, 1);
      const log = await reportOn(stdout);
      assert.deepEqual([classesOf(log), log.confidence], [[sees], "high"], log.summary);
    },
  });
}

Deno.test({
  name: "a job that starts more than it may: pids_exhausted",
  ...needs({ root: true, kernel: [v1Controllers("pids")] }),
  async fn() {
    await using cgroup = await v1Cgroup(["pids"]);
    await cgroup.set("pids", "max", 160);
    // dash ends when it cannot fork. They sleep for longer than a busy machine takes to start them all.
    const job = ["dash", "-c", "sleep 1; while :; do sleep 100 >/dev/null 2>&1 & done"];
    await using davit = startWatched(["--", ...job], { prepare: cgroup.enter });
    const { code, stdout } = await davit.done;
    assert.equal(code, 2);
    const log = await reportOn(stdout);
    assert.deepEqual([classesOf(log), log.confidence], [["pids_exhausted"], "high"], log.summary);
  },
});

function dmesgIsRestricted() {
  return {
    name: "kernel.dmesg_restrict",
    works: () => Deno.readTextFileSync("/proc/sys/kernel/dmesg_restrict").trim() === "1",
  };
}
