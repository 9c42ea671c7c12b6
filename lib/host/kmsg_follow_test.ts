import assert from "node:assert/strict";
import { FakeKmsg, kernelRecord } from "../../testdata/fake_kmsg.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { type KmsgDevice, openKmsg } from "./kmsg_device.ts";
import { KmsgFollower, type KmsgListener } from "./kmsg_follow.ts";

/** What a listener was told, in order: "new 7 text", "old 3 text", "caught up", "lost 2", "down EIO", "up". */
function recorder(): { told: string[]; listener: KmsgListener } {
  const told: string[] = [];
  const listener: KmsgListener = {
    onRecord: ({ seq, text }, isOld) => told.push(`${isOld ? "old" : "new"} ${seq} ${text.slice(0, 40)}`),
    onCaughtUp: () => told.push("caught up"),
    onLost: (count) => told.push(`lost ${count}`),
    onDown: (errno) => told.push(`down ${errno}`),
    onUp: () => told.push("up"),
  };
  return { told, listener };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const startedMs = performance.now(); !condition();) {
    if (performance.now() - startedMs > 30_000) throw new Error(`still waiting: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const never = () => undefined;

Deno.test("KmsgFollower marks what was there before the start", async () => {
  const device = new FakeKmsg([kernelRecord(5, "a"), kernelRecord(6, "b")]);
  const { told, listener } = recorder();
  const follower = new KmsgFollower({ device, listener, reopen: never });
  await device.drained();
  device.add(kernelRecord(7, "c"));
  await device.drained();
  await follower.close();
  assert.deepEqual(told, ["old 5 a", "old 6 b", "caught up", "new 7 c"]);
});

Deno.test("KmsgFollower tells old from new also where the log is never at its end", async () => {
  const texts = Array.from({ length: 1_000 }, (_, index) => kernelRecord(index, "x"));
  const device: KmsgDevice = new FakeKmsg(texts);
  device.readNew = (buffer) => {
    const { record } = kernelRecord(700, "x") as { record: string };
    return new TextEncoder().encodeInto(record, buffer).written;
  };
  const { told, listener } = recorder();
  const follower = new KmsgFollower({ device, listener, reopen: never });
  await (device as FakeKmsg).drained();
  await follower.close();
  assert.deepEqual([told.indexOf("caught up"), told[699], told[701]], [700, "old 699 x", "new 700 x"]);
});

Deno.test("KmsgFollower goes on after what ends other readers, and counts it", async () => {
  const device = new FakeKmsg(["EAGAIN"]);
  const { told, listener } = recorder();
  const follower = new KmsgFollower({ device, listener, reopen: never });
  await device.drained();
  const long = "x".repeat(8_170);
  device.add(
    kernelRecord(10, "before"),
    "EPIPE",
    kernelRecord(15, "after EPIPE"),
    "EINVAL",
    kernelRecord(17, "after EINVAL"),
    "EINTR",
    "EAGAIN",
    kernelRecord(18, "forged by userspace", { priority: 12 }),
    { record: "6,19,1,-,caller=T1;continued\n SUBSYSTEM=pci\n DEVICE=+pci:0000:05:00.0\n" },
    { record: `6,20,1,-;${long}\n` },
    { record: "not a record\n" },
    kernelRecord(21, "last"),
  );
  await device.drained();
  await follower.close();
  assert.deepEqual(told, [
    "caught up",
    "lost 5",
    "new 10 before",
    "new 15 after EPIPE",
    "new 17 after EINVAL",
    "new 19 continued",
    `new 20 ${long.slice(0, 40)}`,
    "new 21 last",
  ]);
  assert.deepEqual(follower.counts, { records: 7, lost: 5, overruns: 1, oversized: 1, malformed: 1 });
});

Deno.test("KmsgFollower opens a source again that fails, and takes no record twice", async (t) => {
  for (const [what, answer] of [["an error", "EIO"], ["the end of a file", 0]] as const) {
    await t.step(what, async () => {
      const devices = [
        new FakeKmsg([kernelRecord(1, "a"), kernelRecord(2, "b"), answer]),
        undefined, // not there for a while
        new FakeKmsg([kernelRecord(2, "b"), kernelRecord(5, "c")]),
      ];
      const { told, listener } = recorder();
      const follower = new KmsgFollower({
        device: devices.shift()!,
        listener,
        reopen: () => devices.shift(),
        retryMs: 1,
      });
      await until(() => told.includes("new 5 c"), "the second device");
      await follower.close();
      const down = `down ${answer === 0 ? "EOF" : answer}`;
      assert.deepEqual(told, ["old 1 a", "old 2 b", "caught up", down, "up", "lost 2", "new 5 c"]);
    });
  }
});

Deno.test("KmsgFollower does not spin on a device that only refuses or wakes it for nothing", async (t) => {
  await t.step("only EINVAL", async () => {
    const device = new FakeKmsg(Array.from({ length: 5_000 }, () => "EINVAL"));
    const { told, listener } = recorder();
    const follower = new KmsgFollower({ device, listener, reopen: never });
    await until(() => told.includes("down EINVAL"), "giving up");
    assert.ok(device.reads <= 1_000, `${device.reads} reads`);
    assert.ok(device.isClosed);
    await follower.close();
  });
  await t.step("waking for nothing", async () => {
    const device = new FakeKmsg();
    device.wait = () => new Promise((resolve) => setTimeout(resolve, 0));
    const { listener } = recorder();
    const startedMs = performance.now();
    const follower = new KmsgFollower({ device, listener, reopen: never });
    await new Promise((resolve) => setTimeout(resolve, 500));
    await follower.close();
    const ms = performance.now() - startedMs;
    assert.ok(device.reads < ms / 10, `${device.reads} reads in ${ms} ms`);
  });
});

Deno.test("KmsgFollower reads a FIFO, where several records may come at once", async () => {
  await using dir = await tempDir("kmsg");
  const path = dir.join("kmsg");
  assert.equal((await run(["mkfifo", path])).code, 0);
  using writer = await Deno.open(path, { read: true, write: true });
  const opening = openKmsg(path);
  assert.ok(opening.state === "ok");
  const { told, listener } = recorder();
  const follower = new KmsgFollower({ device: opening.device, listener, reopen: never });
  await until(() => told.includes("caught up"), "the end");
  const recorded = await Deno.readTextFile(
    new URL("../../testdata/kmsg/memcg_oom_6.18.txt", import.meta.url),
  );
  for (const line of recorded.trimEnd().split("\n")) {
    await writer.write(new TextEncoder().encode(`${line}\n`));
  }
  await until(() => told.length > 80, "80 records");
  await follower.close();
  assert.equal(told.length, 81);
  assert.match(told.at(-1)!, /^new 508 Memory cgroup out of memory: Killed/);
  assert.deepEqual(follower.counts, { records: 80, lost: 0, overruns: 0, oversized: 0, malformed: 0 });
});

Deno.test("KmsgFollower lets a flood of records pass in bounded memory", async () => {
  let seq = 0;
  const device: KmsgDevice = {
    read(buffer) {
      if (seq === 100_000) return "EAGAIN";
      const text = `6,${seq},${seq},-;NVRM: Xid (PCI:0000:05:00): 31, pid=${seq++}, ${"y".repeat(500)}\n`;
      return new TextEncoder().encodeInto(text, buffer).written;
    },
    wait: () => new Promise((resolve) => setTimeout(resolve, 10)),
    close() {},
  };
  let records = 0;
  const listener: KmsgListener = { ...recorder().listener, onRecord: () => void records++ };
  let ticks = 0;
  const ticker = setInterval(() => ticks++, 10);
  const before = Deno.memoryUsage().rss;
  const follower = new KmsgFollower({ device, listener, reopen: never });
  await until(() => records === 100_000, "the flood's end");
  clearInterval(ticker);
  await follower.close();
  const grown = (Deno.memoryUsage().rss - before) / 2 ** 20;
  assert.ok(grown < 100, `grew by ${grown} MiB over 50 MiB of records`);
  assert.ok(ticks > 20, `timers ran ${ticks} times beside it`);
});
