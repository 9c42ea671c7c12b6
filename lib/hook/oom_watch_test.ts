import assert from "node:assert/strict";
import { MACHINE_FILES, writeMachine } from "../../testdata/machine_tree.ts";
import { tempDir } from "../../testdata/temp.ts";
import { writeTree } from "../../testdata/written_tree.ts";
import { OomWatch } from "./oom_watch.ts";

const EVENTS = "cgroup/pod/c/memory.events";
const JOB = 4711;
/** A real log with one OOM kill in it, of process 3695 at second 1786 of the kernel's clock. */
const KMSG = decodeURIComponent(new URL("../../testdata/kmsg/memcg_oom_6.18.txt", import.meta.url).pathname);
const KILLED = 3_695;

Deno.test("OomWatch reads the counters of cgroup v2", async (t) => {
  await using dir = await tempDir("oom");
  await writeMachine(dir.path, {
    "proc/uptime": "100.00 100.00\n",
    "cgroup/pod/c/cgroup.procs": `${Deno.pid}\n`,
  });
  const watch = new OomWatch({ proc: dir.join("proc"), kmsg: dir.join("none") });
  const before = watch.counts();
  assert.deepEqual(before, { kills: 8, limitHits: 7, atUs: 100_000_000 });
  const since = () => watch.since(before, JOB, { isKilled: true });
  await t.step("nothing came", () => {
    assert.deepEqual(since(), { kills: 0, isOwnLimit: false, events: [] });
  });
  await t.step("its own limit", async () => {
    await writeTree(dir.path, {
      [EVENTS]: MACHINE_FILES[EVENTS].replace("oom 7", "oom 8").replace("oom_kill 8", "oom_kill 9"),
    });
    assert.deepEqual(since(), { kills: 1, isOwnLimit: true, events: [] });
  });
  await t.step("somebody else's", async () => {
    await writeTree(dir.path, { [EVENTS]: MACHINE_FILES[EVENTS].replace("oom_kill 8", "oom_kill 10") });
    assert.deepEqual(since(), { kills: 2, isOwnLimit: false, events: [] });
  });
});

Deno.test("OomWatch finds in the kernel's log what concerns the job", async (t) => {
  for (
    const [name, cgroup, uptime, pid, expected] of [
      ["a kill in its cgroup", "/pod/c", 1_785, JOB, [KILLED]],
      ["a kill in one below", "/pod/c/d", 1_785, JOB, [KILLED]],
      ["a kill elsewhere", "/pod/cc", 1_785, JOB, []],
      ["the job's own number, where numbers are the kernel's", "/", 1_785, KILLED, [KILLED]],
      ["a kill before it", "/pod/c", 1_800, JOB, []],
    ] as [string, string, number, number, number[]][]
  ) {
    await t.step(name, async () => {
      await using dir = await tempDir("oom");
      const text = await Deno.readTextFile(KMSG);
      await writeMachine(dir.path, {
        "proc/uptime": `${uptime}.00 1.00\n`,
        "cgroup/pod/c/cgroup.procs": `${Deno.pid}\n`,
        "kmsg": text.replaceAll(/(task_memcg|oom_memcg)=[^,]+/g, `$1=${cgroup}`),
        "proc/self/ns/": "",
      });
      await Deno.symlink("pid:[4026531836]", dir.join("proc/self/ns/pid"));
      const watch = new OomWatch({ proc: dir.join("proc"), kmsg: dir.join("kmsg") });
      const found = watch.since(watch.counts(), pid, { isKilled: true });
      assert.deepEqual(found.events.map((event) => event.pid), expected);
      assert.deepEqual([found.kills, found.isOwnLimit], [expected.length, expected.length > 0]);
      // What one job had is not the next one's.
      assert.deepEqual(watch.since(watch.counts(), pid, { isKilled: true }).events, []);
    });
  }
});
