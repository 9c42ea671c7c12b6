import assert from "node:assert/strict";
import {
  HOG,
  type MemoryCgroup,
  memoryCgroup,
  memoryCgroups,
  REPORT_LIMIT_MS,
} from "../../testdata/memory_cgroup.ts";
import { needs } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { type KmsgDevice, openKmsg } from "../host/kmsg_device.ts";
import { KmsgWatch, type KmsgWatchOptions } from "./kmsg_watch.ts";
import type { LineFields } from "./line.ts";

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

Deno.test("KmsgWatch finds one kill in a FIFO full of faults", async () => {
  await using dir = await tempDir("kmsg");
  const path = dir.join("kmsg");
  assert.equal((await run(["mkfifo", path])).code, 0);
  using writer = await Deno.open(path, { read: true, write: true });
  const opening = openKmsg(path);
  assert.ok(opening.state === "ok");
  let reads = 0;
  const faults = ["EPIPE", "EINVAL", "EINTR", "EAGAIN"];
  const device: KmsgDevice = {
    ...opening.device,
    // Every second read fails, and takes nothing away.
    read: (buffer) => ++reads % 2 === 0 ? faults[reads / 2 % 4]! : opening.device.read(buffer),
  };
  const recorded = (await Deno.readTextFile(
    new URL("../../testdata/kmsg/memcg_oom_6.18.txt", import.meta.url),
  )).trimEnd().split("\n");
  const cgroup = /task_memcg=([^,]+)/.exec(recorded.join("\n"))![1]!;
  const { told, watcher } = watch({ device, cgroup });
  try {
    const write = async (record: string) => {
      await writer.write(new TextEncoder().encode(`${record}\n`));
      if (Math.random() < 0.3) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    await new Promise((resolve) => setTimeout(resolve, 20));
    const kill = recorded.at(-1)!.replace(/^[^;]*;/, "");
    await write(`11,420,1,-;${kill}`); // userspace, which says the same
    for (const record of recorded) {
      const seq = Number(record.split(",")[1]);
      if (seq === 440) continue; // lost
      await write(seq === 441 ? `${record}\n SUBSYSTEM=memory\n DEVICE=+x:${kill}` : record);
      if (seq === 470) await write("garbage");
    }
    await write(`6,509,1,-;${"x".repeat(8_100)}`);
    await write("3,520,1,-;NVRM: Xid (PCI:0000:05:00): 79, pid=1, GPU has fallen off the bus.");
    await until(() => told.some(([event]) => event === "kernel"), "the last record");
  } finally {
    await watcher.close();
  }
  const lost = told.filter(([event]) => event === "kmsg_lost").reduce(
    (sum, [, { count }]) => sum + Number(count),
    0,
  );
  assert.equal(lost, 8 + 1 + 10, "before 429, 440, before 520");
  assert.deepEqual(
    told.filter(([event]) => event !== "kmsg_lost").map((
      [event, { scope, pid, xid }],
    ) => [event, scope, pid, xid]),
    [["oom", "own", 3695, undefined], ["kernel", undefined, "1", "79"]],
  );
});

/** The event of a kill in `cgroup`, once the kernel reports one whole: other tests kill too. */
async function killIn(cgroup: MemoryCgroup, told: readonly Told[], pids: Set<number>): Promise<LineFields> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const { pid, signal } = await cgroup.run(HOG);
    assert.equal(signal, "SIGKILL");
    pids.add(pid);
    const find = () => told.find(([event, fields]) => event === "oom" && fields.pid === pid)?.[1];
    await until(() => find() !== undefined, `the kill of ${pid}`);
    if (find()!.oom_memcg !== undefined) return find()!;
    await new Promise((resolve) => setTimeout(resolve, REPORT_LIMIT_MS));
  }
  throw new Error("the kernel reported no kill whole");
}

Deno.test({
  name: "KmsgWatch sees real kills of the kernel, with their scope, and counts them",
  ...needs({
    root: true,
    programs: ["tail"],
    kernel: [memoryCgroups, { name: "/dev/kmsg", works: () => canRead() }],
  }),
  async fn(t) {
    await using pod = await memoryCgroup("pod", 64 << 20);
    await using own = await pod.child("own", 16 << 20);
    await using sibling = await pod.child("sibling");
    const before = await own.run(HOG);
    assert.equal(before.signal, "SIGKILL");
    const { told, watcher } = watch({ cgroup: own.path });
    const pids = new Set<number>();
    try {
      await t.step("from before the start: told as old", async () => {
        await until(() => told.some(([, { pid }]) => pid === before.pid), "the old kill");
        assert.equal(told.find(([, { pid }]) => pid === before.pid)![1].old, true);
      });
      const rows: [what: string, where: MemoryCgroup, scope: string, limit: MemoryCgroup][] = [
        ["own limit", own, "own", own],
        ["an ancestor's limit, victim in a sibling", sibling, "ancestor", pod],
      ];
      for (const [what, where, scope, limit] of rows) {
        await t.step(what, async () => {
          const fields = await killIn(where, told, pids);
          assert.deepEqual(
            [fields.scope, fields.own_victim, fields.oom_memcg, fields.task_memcg, fields.comm, fields.old],
            [scope, where === own, limit.path, where.path, "tail", undefined],
          );
          const limitKb = limit === own ? 16_384 : 65_536;
          assert.equal(fields.memcg_limit_kb, limitKb);
          assert.ok(Number(fields.anon_rss_kb) > limitKb / 4 && Number(fields.anon_rss_kb) <= limitKb);
        });
      }
      await t.step("own limit, victim in a cgroup below", async () => {
        // Only now: a v2 cgroup with controllers below it can have no process of its own.
        await using inner = await own.child("inner");
        const fields = await killIn(inner, told, pids);
        assert.deepEqual([fields.scope, fields.own_victim, fields.oom_memcg], ["own", true, own.path]);
      });
      await t.step("another's limit", async () => {
        await using other = await memoryCgroup("other", 16 << 20);
        const fields = await killIn(other, told, pids);
        assert.deepEqual([fields.scope, fields.own_victim, fields.oom_memcg], ["other", false, other.path]);
      });
      await t.step("each once", () => {
        const kills = told.filter(([event, { pid }]) => event === "oom" && pids.has(Number(pid)));
        assert.equal(kills.length, pids.size);
      });
    } finally {
      await watcher.close();
    }
  },
});

function canRead(): boolean {
  const opening = openKmsg("/dev/kmsg");
  if (opening.state === "ok") opening.device.close();
  return opening.state === "ok";
}
