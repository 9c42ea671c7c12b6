import assert from "node:assert/strict";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { kernelClockUs, localPid, serverEvidence } from "./server_evidence.ts";

const KMSG = decodeURIComponent(new URL("../../testdata/kmsg/memcg_oom_6.18.txt", import.meta.url).pathname);
const KILLED_PID = 3_695;
const KILLED_US = 1_785_971_631;
const SAYS = "the kernel's log says: Memory cgroup out of memory: Killed process 3695 (sh)";

Deno.test("serverEvidence() finds the kernel's word on this process since then", async (t) => {
  await using dir = await tempDir("evidence");
  const own = { proc: dir.path, kmsg: KMSG };
  const evidence = (pid: number, sinceUs: number) => serverEvidence({ pid, sinceUs, ...own });
  await t.step("it was killed", () => {
    const [says, gone] = evidence(KILLED_PID, KILLED_US);
    assert.ok(says!.startsWith(SAYS), says);
    assert.equal(gone, "its process 3695 does not run any more");
  });
  await t.step("that was before", () => {
    assert.deepEqual(evidence(KILLED_PID, KILLED_US + 1), ["its process 3695 does not run any more"]);
  });
  await t.step("another was killed", async () => {
    await Deno.mkdir(dir.join("17"));
    await Deno.writeTextFile(dir.join("17/stat"), "17 (a) b) S 1 1");
    assert.deepEqual(evidence(17, 0), []);
    await Deno.writeTextFile(dir.join("17/stat"), "17 (a) b) Z 1 1");
    assert.deepEqual(evidence(17, 0), ["its process 17 does not run any more"]);
  });
  await t.step("in a container its name tells", async () => {
    const renamed = (await Deno.readTextFile(KMSG)).replace("3695 (sh)", "4 (davit)");
    await Deno.writeTextFile(dir.join("kmsg"), renamed);
    const [says] = serverEvidence({ pid: undefined, sinceUs: 0, proc: dir.path, kmsg: dir.join("kmsg") });
    assert.match(says!, /Killed process 4 \(davit\)/);
  });
  await t.step("nothing can be read", () => {
    assert.deepEqual(
      serverEvidence({ pid: undefined, sinceUs: 0, proc: "/nonexistent", kmsg: "/nonexistent" }),
      [],
    );
  });
});

Deno.test("localPid() takes a number only for what is a davit here", async () => {
  await using dir = await tempDir("evidence");
  await Deno.mkdir(dir.join("5"));
  await Deno.writeTextFile(dir.join("5/comm"), "davit\n");
  await Deno.mkdir(dir.join("6"));
  await Deno.writeTextFile(dir.join("6/comm"), "bash\n");
  assert.deepEqual([5, 6, 7, null].map((pid) => localPid(pid, { proc: dir.path })), [
    5,
    undefined,
    undefined,
    undefined,
  ]);
});

Deno.test("kernelClockUs() goes with the clock of /proc/uptime", async () => {
  const before = kernelClockUs();
  const { stdout } = await run(["cut", "-d.", "-f1", "/proc/uptime"]);
  assert.ok(before / 1e6 <= Number(stdout) + 1 && kernelClockUs() >= before);
  assert.equal(kernelClockUs({ proc: "/nonexistent" }), Infinity);
});
