import assert from "node:assert/strict";
import { FakeKmsg, kernelRecord } from "../../testdata/fake_kmsg.ts";
import { KmsgWatch, type KmsgWatchOptions } from "./kmsg_watch.ts";
import { formatLine, type LineFields } from "./line.ts";

type Told = [event: string, fields: LineFields];

/** A watch and what it told so far. */
function watch(options: Omit<KmsgWatchOptions, "emit">): { told: Told[]; watcher: KmsgWatch } {
  const told: Told[] = [];
  const watcher = new KmsgWatch({ ...options, emit: (event, fields) => told.push([event, fields]) });
  watcher.start();
  return { told, watcher };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const startedMs = performance.now(); !condition();) {
    if (performance.now() - startedMs > 20_000) throw new Error(`still waiting: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const KILL = "total-vm:100kB, anon-rss:50kB, file-rss:4kB, shmem-rss:0kB";
const SUMMARY =
  "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=x,pid=1,uid=0";

Deno.test("KmsgWatch tells of a recorded kill once, seen from where it stands", async (t) => {
  const path = "/docker/f5fba47cfcbecc4b77423ba9b7705be22097101de2b70dafe4734b270a237311";
  const recorded = await Deno.readTextFile(
    new URL("../../testdata/kmsg/memcg_oom_6.18.txt", import.meta.url),
  );
  for (
    const [cgroup, scope, ownVictim] of [
      [path, "own", true],
      ["/docker", "own", true],
      [`${path}/inner`, "ancestor", false],
      ["/docker/another", "other", false],
      [undefined, undefined, undefined],
    ] as const
  ) {
    await t.step(`from ${cgroup}`, async () => {
      const device = new FakeKmsg();
      const { told, watcher } = watch({ device, cgroup });
      assert.equal(watcher.state, "ok");
      await device.drained();
      device.add(...recorded.trimEnd().split("\n").map((line) => ({ record: `${line}\n` })));
      await device.drained();
      await watcher.close();
      assert.deepEqual(told, [["oom", {
        scope,
        outcome: "killed",
        constraint: "CONSTRAINT_MEMCG",
        pid: 3695,
        comm: "sh",
        uid: 0,
        own_victim: ownVictim,
        total_vm_kb: 100580,
        anon_rss_kb: 65028,
        file_rss_kb: 1424,
        shmem_rss_kb: 0,
        pgtables_kb: 184,
        oom_score_adj: 0,
        oom_memcg: path,
        task_memcg: path,
        memcg_usage_kb: 65536,
        memcg_limit_kb: 65536,
        invoked_by: "sh",
        oom_group: undefined,
        kmsg_seq: 508,
        kmsg_us: 1785971631,
        old: undefined,
        dropped: undefined,
      }]]);
    });
  }
});

Deno.test("KmsgWatch sums up what was in the log before, but for what may concern us", async () => {
  const xid = (seq: number, number: number) =>
    kernelRecord(seq, `NVRM: Xid (PCI:0000:05:00): ${number}, pid=7, name=x`);
  const device = new FakeKmsg([
    ...Array.from({ length: 100 }, (_, seq) => xid(seq, 31)),
    ...Array.from({ length: 20 }, (_, index) => xid(100 + index, 79)),
    kernelRecord(120, "nfs: server a not responding, timed out"),
    ...[1, 2, 3].flatMap((pid) => [
      kernelRecord(119 + 2 * pid, SUMMARY.replace("pid=1", `pid=${pid}`).replaceAll("/a", "/b")),
      kernelRecord(120 + 2 * pid, `Killed process ${pid} (x) ${KILL}`),
    ]),
    kernelRecord(127, SUMMARY),
    kernelRecord(128, `Killed process 1 (x) ${KILL}`),
  ]);
  const { told, watcher } = watch({ device, cgroup: "/a" });
  await device.drained();
  device.add(kernelRecord(200, "NVRM: Xid (PCI:0000:05:00): 79, GPU has fallen off the bus."));
  await device.drained();
  await watcher.close();
  assert.deepEqual(
    told.map(([event, { xid, scope, old }]) => [event, xid ?? scope, old]),
    [
      ...Array.from({ length: 16 }, () => ["kernel", "79", true]),
      ["oom", "own", true],
      ["kmsg_old", undefined, true],
      ["kmsg_lost", undefined, undefined],
      ["kernel", "79", undefined],
    ],
  );
  assert.deepEqual(told.find(([event]) => event === "kmsg_old")![1], {
    oom_other: 3,
    oom_more: undefined,
    kernel: 105,
    tags: "xid:104,nfs:1",
    old: true,
  });
});

Deno.test("KmsgWatch counts old kills of which it cannot tell whose they were beyond the newest", async () => {
  const records = Array.from({ length: 40 }, (_, pid) => [
    kernelRecord(2 * pid, SUMMARY.replace("pid=1", `pid=${pid}`)),
    kernelRecord(2 * pid + 1, `Killed process ${pid} (x) ${KILL}`),
  ]);
  const device = new FakeKmsg(records.flat());
  const { told, watcher } = watch({ device });
  await device.drained();
  await watcher.close();
  assert.deepEqual(told.map(([event, { pid }]) => [event, pid]), [
    ...Array.from({ length: 16 }, (_, index) => ["oom", index + 24]),
    ["kmsg_old", undefined],
  ]);
  assert.equal(told.at(-1)![1].oom_more, 24);
});

Deno.test("KmsgWatch takes nothing for old that was said since a moment before it", async () => {
  const at = (seq: number, stampUs: number, text: string) => kernelRecord(seq, text, { stampUs });
  const device = new FakeKmsg([
    at(0, 1_000, "NVRM: Xid (PCI:0000:05:00): 31, pid=1, name=x"),
    at(1, 1_000, SUMMARY),
    at(2, 1_000, `Killed process 1 (x) ${KILL}`),
    at(3, 2_000, "NVRM: Xid (PCI:0000:05:00): 31, pid=2, name=x"),
    at(4, 2_000, SUMMARY.replace("pid=1", "pid=2")),
    at(5, 2_000, `Killed process 2 (x) ${KILL}`),
  ]);
  const { told, watcher } = watch({ device, cgroup: "/a", sinceUs: 2_000 });
  await device.drained();
  await watcher.close();
  assert.deepEqual(told.map(([event, { pid, old }]) => [event, pid, old]), [
    ["oom", 1, true],
    ["kmsg_old", undefined, true],
    ["kernel", "2", undefined],
    ["oom", 2, undefined],
  ]);
});

Deno.test("KmsgWatch gives the facts of a tagged line", async () => {
  const device = new FakeKmsg();
  const { told, watcher } = watch({ device });
  await device.drained();
  device.add(
    kernelRecord(7, "NVRM: Xid (PCI:0000:9b:00): 119, pid=2024380, name=nvidia-smi, Timeout after 6s"),
    kernelRecord(8, "NVRM: Xid (PCI:0000:9b:00): 79, forged", { priority: 11 }),
  );
  await device.drained();
  await watcher.close();
  assert.deepEqual(told, [["kernel", {
    tag: "xid",
    class: "fatal",
    bus: "0000:9b:00",
    xid: "119",
    pid: "2024380",
    kmsg_seq: 7,
    kmsg_us: 7_000,
    old: undefined,
    text: "NVRM: Xid (PCI:0000:9b:00): 119, pid=2024380, name=nvidia-smi, Timeout after 6s",
    repeats: undefined,
    dropped: undefined,
  }]]);
});

Deno.test("KmsgWatch tells of a victim whose kill never comes, at the latest at the end", async () => {
  const device = new FakeKmsg();
  const { told, watcher } = watch({ device, cgroup: "/a" });
  await device.drained();
  device.add(kernelRecord(1, SUMMARY));
  await device.drained();
  assert.equal(told.length, 0);
  await watcher.close();
  assert.deepEqual(told.map(([event, { scope, outcome }]) => [event, scope, outcome]), [[
    "oom",
    "own",
    "chosen",
  ]]);
});

Deno.test("KmsgWatch lets no flood hide a kill, nor an Xid another Xid", async () => {
  let nowMs = 0;
  const device = new FakeKmsg();
  const { told, watcher } = watch({ device, cgroup: "/a", nowMs: () => nowMs });
  await device.drained();
  let seq = 0;
  const xid = (number: number, pid: number) =>
    kernelRecord(seq++, `NVRM: Xid (PCI:0000:05:00): ${number}, pid=${pid}, name=x`);
  for (let pid = 0; pid < 10_000; pid++) device.add(xid(31, pid));
  device.add(xid(79, 1));
  for (let index = 0; index < 1_000; index++) device.add(kernelRecord(seq++, `nfs: server host${index} OK`));
  device.add(kernelRecord(seq++, SUMMARY), kernelRecord(seq++, `Killed process 1 (x) ${KILL}`));
  await device.drained();
  nowMs = 60_000;
  device.add(xid(31, 5));
  await device.drained();
  await watcher.close();
  assert.deepEqual(
    told.filter(([, { tag }]) => tag !== "nfs").map((
      [event, { xid, outcome, repeats, dropped, count, reason }],
    ) => [event, xid ?? outcome ?? reason, repeats ?? dropped ?? count]),
    [
      ["kernel", "31", undefined],
      ["kernel", "79", undefined],
      ["oom", "killed", undefined],
      ["kernel", "31", 9_999],
    ],
  );
  assert.equal(told.filter(([, { tag }]) => tag === "nfs").length, 18);
  assert.equal(told.at(-1)?.[1].dropped, 1_000 - 18);
});

Deno.test("KmsgWatch says of losses and of the source's, but not too often", async () => {
  const device = new FakeKmsg();
  const { told, watcher } = watch({ device });
  await device.drained();
  for (let seq = 0; seq < 10_000; seq += 10) device.add(kernelRecord(seq, "x"), "EAGAIN");
  await device.drained();
  device.add("EIO");
  await until(() => told.some(([event]) => event === "source_lost"), "the loss of the source");
  await watcher.close();
  const losses = told.filter(([event]) => event === "kmsg_lost");
  assert.equal(losses.reduce((sum, [, { count }]) => sum + Number(count), 0), 9 * 999);
  assert.ok(losses.length <= 10, `${losses.length} lines`);
  assert.deepEqual(told.find(([event]) => event === "source_lost")?.[1], { source: "kmsg", errno: "EIO" });
});

Deno.test("KmsgWatch without a kernel log says so and does nothing", async () => {
  const { told, watcher } = watch({ path: "/proc/davit-none" });
  assert.equal(watcher.state, "absent");
  await watcher.close();
  assert.deepEqual(told, []);
});

Deno.test("the longest event fits into a line", async () => {
  const path = `/${"\\x1b".repeat(2_000)}`;
  const device = new FakeKmsg();
  const { told, watcher } = watch({ device, cgroup: "/a" });
  await device.drained();
  device.add(
    kernelRecord(1, SUMMARY.replaceAll("/a", path).replace("task=x", `task=${"\\x5c".repeat(15)}`)),
    kernelRecord(2, `Killed process 1 (${"\\x5c".repeat(15)}) ${KILL}`),
    kernelRecord(3, `cgroup: fork rejected by pids controller in ${path}`),
  );
  await device.drained();
  await watcher.close();
  assert.equal(told.length, 2);
  for (const [event, fields] of told) {
    const line = formatLine("RUNNER_VITALS", "event", { wallMs: 0, monoMs: 0 }, { seq: 1, event, ...fields });
    assert.ok(new TextEncoder().encode(line).length < 4_096);
    assert.doesNotMatch(line, / cut=/);
  }
});
