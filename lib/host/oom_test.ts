import assert from "node:assert/strict";
import { parseKmsgRecord } from "./kmsg.ts";
import { type OomEvent, OomJoiner } from "./oom.ts";

const SECOND_US = 1_000_000;
const KILL = "total-vm:100kB, anon-rss:50kB, file-rss:4kB, shmem-rss:0kB";
const summaryOf = (pid: number, limit = "/a", task = limit) =>
  `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=${limit},task_memcg=${task},task=x,pid=${pid},uid=0`;
const killOf = (pid: number, comm = "x") =>
  `Memory cgroup out of memory: Killed process ${pid} (${comm}) ${KILL}`;

/** Joins texts that came so many microseconds after the start each. */
function join(...texts: [atUs: number, text: string][]): Partial<OomEvent>[] {
  const events: OomEvent[] = [];
  const joiner = new OomJoiner((event) => events.push(event));
  texts.forEach(([stampUs, text], seq) => joiner.take({ level: 6, facility: 0, seq, stampUs, text }, false));
  joiner.flush();
  return events.map(({ outcome, pid, comm, oomMemcg, taskMemcg, constraint }) => ({
    outcome,
    pid,
    comm,
    oomMemcg,
    taskMemcg,
    constraint,
  }));
}

Deno.test("OomJoiner makes one event of the 80 records of a real kill", async () => {
  const recorded = await Deno.readTextFile(
    new URL("../../testdata/kmsg/memcg_oom_6.18.txt", import.meta.url),
  );
  const events: OomEvent[] = [];
  const joiner = new OomJoiner((event) => events.push(event));
  for (const line of recorded.trimEnd().split("\n")) joiner.take(parseKmsgRecord(line)!, false);
  joiner.flush();
  const path = "/docker/f5fba47cfcbecc4b77423ba9b7705be22097101de2b70dafe4734b270a237311";
  assert.deepEqual(events, [{
    outcome: "killed",
    origin: "memcg",
    constraint: "CONSTRAINT_MEMCG",
    oomMemcg: path,
    taskMemcg: path,
    pid: 3695,
    comm: "sh",
    uid: 0,
    victim: {
      pid: 3695,
      comm: "sh",
      uid: 0,
      totalVmKb: 100580,
      anonRssKb: 65028,
      fileRssKb: 1424,
      shmemRssKb: 0,
      pgtablesKb: 184,
      oomScoreAdj: 0,
    },
    invokedBy: "sh",
    usageKb: 65536,
    limitKb: 65536,
    isGroupMember: false,
    seq: 508,
    stampUs: 1785971631,
    isOld: false,
  }]);
});

Deno.test("OomJoiner joins what belongs together, by kernel", async (t) => {
  const known = { constraint: "CONSTRAINT_MEMCG", oomMemcg: "/a", taskMemcg: "/a" };
  const unknown = { constraint: undefined, oomMemcg: undefined, taskMemcg: undefined };
  const killed = (pid: number, more: Partial<OomEvent> = unknown) => ({
    outcome: "killed",
    pid,
    comm: "x",
    ...more,
  });
  const rows: [what: string, texts: [number, string][], expected: unknown[]][] = [
    ["5.1 and later", [[0, summaryOf(1)], [100, killOf(1)]], [killed(1, known)]],
    ["a kill just within 5 s", [[0, summaryOf(1)], [5 * SECOND_US, killOf(1)]], [killed(1, known)]],
    ["a kill of the same number later", [[0, summaryOf(1)], [5 * SECOND_US + 1, killOf(1)]], [
      { outcome: "chosen", pid: 1, comm: "x", ...known },
      killed(1),
    ]],
    ["two at once", [[0, summaryOf(1)], [1, summaryOf(2, "/b")], [2, killOf(2)], [3, killOf(1)]], [
      killed(2, { ...known, oomMemcg: "/b", taskMemcg: "/b" }),
      killed(1, known),
    ]],
    ["a burst whose summaries were rate-limited", [[0, summaryOf(1)], [1, killOf(1)], [2, killOf(2)]], [
      killed(1, known),
      killed(2),
    ]],
    ["a summary without its kill", [[0, summaryOf(1)]], [{ outcome: "chosen", pid: 1, comm: "x", ...known }]],
    ["a victim that was exiting", [
      [0, summaryOf(1)],
      [1, "Memory cgroup out of memory: OOM victim 1 (x) is already exiting. Skip killing the task"],
    ], [{ outcome: "exiting", pid: 1, comm: "x", ...known }]],
    ["no victim", [[0, "Out of memory and no killable processes..."]], [
      { outcome: "none", pid: undefined, comm: undefined, ...unknown },
    ]],
    ["memory.oom.group", [
      [0, summaryOf(1, "/pod", "/pod/a/b")],
      [1, killOf(1)],
      [2, "Tasks in /pod/a are going to be killed due to memory.oom.group set"],
      [3, killOf(2)],
      [4, killOf(3)],
      [6 * SECOND_US, killOf(4)],
    ], [
      killed(1, { ...known, oomMemcg: "/pod", taskMemcg: "/pod/a/b" }),
      killed(2, { ...known, oomMemcg: "/pod", taskMemcg: "/pod/a" }),
      killed(3, { ...known, oomMemcg: "/pod", taskMemcg: "/pod/a" }),
      killed(4),
    ]],
    ["4.8 in a cgroup", [
      [0, "Task in /docker/a killed as a result of limit of /docker"],
      [1, "Memory cgroup out of memory: Kill process 1 (x) score 1046 or sacrifice child"],
      [2, `Killed process 1 (x) ${KILL}`],
      [3, `Killed process 2 (x) ${KILL}`],
    ], [killed(1, { constraint: undefined, oomMemcg: "/docker", taskMemcg: "/docker/a" }), killed(2)]],
    ["4.18, a sacrificed child", [
      [0, "Out of memory: Kill process 1 (parent) score 900 or sacrifice child"],
      [SECOND_US, `Killed process 5 (x) ${KILL}`],
    ], [killed(5)]],
    ["5.0, a sacrificed child with a summary", [
      [0, summaryOf(1)],
      [1, "Memory cgroup out of memory: Kill process 1 (parent) score 900 or sacrifice child"],
      [2, `Killed process 5 (x) ${KILL}`],
    ], [killed(5, known)]],
    ["a summary in pieces", [
      [0, "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)"],
      [1, "some other line"],
      [2, ",cpuset=/,mems_allowed=0"],
      [3, ",oom_memcg=/a,task_memcg=/a,task=x,pid=1,uid=0"],
      [4, killOf(1)],
    ], [killed(1, known)]],
    ["a summary whose end was lost", [
      [0, "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)"],
      [4, killOf(1)],
    ], [killed(1, { ...unknown, constraint: "CONSTRAINT_MEMCG" })]],
    ["a piece whose beginning was lost", [[0, ",oom_memcg=/a,task_memcg=/a"], [4, killOf(1)]], [killed(1)]],
  ];
  for (const [what, texts, expected] of rows) {
    await t.step(what, () => assert.deepEqual(join(...texts), expected));
  }
});

Deno.test("OomJoiner keeps a bounded number of victims whose kill does not come", () => {
  const texts = Array.from({ length: 1_000 }, (_, pid): [number, string] => [pid, summaryOf(pid)]);
  assert.equal(join(...texts).length, 1_000);
  const joiner = new OomJoiner(() => given++);
  let given = 0;
  for (const [stampUs, text] of texts) {
    joiner.take({ level: 6, facility: 0, seq: stampUs, stampUs, text }, false);
  }
  assert.equal(given, 1_000 - 32);
});
