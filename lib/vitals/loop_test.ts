import assert from "node:assert/strict";
import { Loop, type LoopClock, realClock, type Tick } from "./loop.ts";

/** A clock that only the loop's own waits move; `wait` and `rest` may be told to lie. */
class TestClock implements LoopClock {
  nowMs = 1_000;
  wallOffsetMs = 1_700_000_000_000;
  bootOffsetMs: number | undefined = 5_000_000;
  waits: number[] = [];
  rests = 0;
  /** What really passes during a wait of `ms`. */
  passes = (ms: number) => ms;

  monoMs = () => this.nowMs;
  wallMs = () => this.nowMs + this.wallOffsetMs;
  bootMs = () => this.bootOffsetMs === undefined ? undefined : this.nowMs + this.bootOffsetMs;
  wait(ms: number) {
    this.waits.push(ms);
    this.nowMs += this.passes(ms);
    return { done: Promise.resolve(), cancel() {} };
  }
  rest(ms: number) {
    this.rests++;
    this.nowMs += ms;
    return Promise.resolve();
  }
}

interface Log {
  readonly ticks: Tick[];
  readonly steps: number[];
  readonly resumes: [number, boolean][];
}

/** Runs until `count` ticks; `onTick` may change the clock in between. */
async function runTicks(
  intervalMs: number,
  count: number,
  clock: LoopClock,
  onTick: (log: Log, loop: Loop) => void = () => {},
): Promise<Log> {
  const log: Log = { ticks: [], steps: [], resumes: [] };
  const stop = new AbortController();
  const loop = new Loop(intervalMs, {
    onTick(tick) {
      log.ticks.push(tick);
      if (log.ticks.length >= count) stop.abort();
      else onTick(log, loop);
    },
    onClockStep: (deltaMs) => log.steps.push(deltaMs),
    onResume: (gapMs, wasSuspended) => log.resumes.push([gapMs, wasSuspended]),
  }, clock);
  await loop.run(stop.signal);
  return log;
}

function distances({ ticks }: Log): number[] {
  return ticks.slice(1).map(({ monoMs }, index) => monoMs - ticks[index]!.monoMs);
}

Deno.test("Loop samples at once and then at absolute deadlines, so that delays do not add up", async () => {
  const clock = new TestClock();
  clock.passes = (ms) => ms + 7;
  const log = await runTicks(1_000, 5, clock);
  assert.deepEqual(log.ticks.map(({ monoMs }) => monoMs), [1_000, 2_007, 3_007, 4_007, 5_007]);
  assert.deepEqual(log.ticks.map(({ lateMs }) => lateMs), [0, 7, 7, 7, 7]);
  assert.deepEqual([log.resumes, log.steps], [[], []]);
});

Deno.test("Loop skips what it missed, says so once and does not burst", async () => {
  const clock = new TestClock();
  const log = await runTicks(1_000, 6, clock, ({ ticks }) => {
    clock.passes = ticks.length === 2 ? (ms) => ms + 10_500 : (ms) => ms;
  });
  assert.deepEqual(distances(log), [1_000, 11_500, 250, 1_000, 1_000]);
  assert.equal(log.ticks[2]!.lateMs, 10_500);
  assert.deepEqual(log.resumes, [[11_500, false]]);
});

Deno.test("Loop says so when it was stopped in the middle of a sample, and pauses between slow ones", async (t) => {
  await t.step("stopped", async () => {
    const clock = new TestClock();
    const log = await runTicks(200, 4, clock, ({ ticks }) => {
      if (ticks.length === 2) clock.nowMs += 2_500;
    });
    assert.deepEqual(log.ticks.map(({ lateMs }) => lateMs), [0, 0, 2_350, 0]);
    assert.deepEqual(log.resumes, [[2_550, false]]);
  });
  await t.step("slow", async () => {
    const clock = new TestClock();
    const log = await runTicks(200, 5, clock, () => void (clock.nowMs += 500));
    assert.deepEqual(distances(log), [550, 550, 550, 550]);
  });
});

Deno.test("Loop never samples closer than the floor, and rests plainly when waits keep returning early", async () => {
  const clock = new TestClock();
  clock.passes = () => 0;
  const log = await runTicks(3_000, 4, clock);
  assert.deepEqual(distances(log), [3_000, 3_000, 3_000]);
  assert.equal(clock.rests, 3);
  assert.equal(clock.waits.length, 30);
  const short = new TestClock();
  short.passes = () => 1; // far too early, but not standing still
  assert.ok(distances(await runTicks(200, 4, short)).every((ms) => ms >= 100));
});

Deno.test("Loop waits 60 s at most and survives a monotonic clock that jumps back", async () => {
  const clock = new TestClock();
  const log = await runTicks(60_000, 3, clock, ({ ticks }) => {
    if (ticks.length === 1) clock.nowMs -= 3_600_000;
  });
  assert.equal(log.ticks.length, 3);
  assert.ok(clock.waits.every((ms) => ms <= 60_000));
});

Deno.test("Loop gives events 20 samples at once and 2 a second, and counts the rest", async () => {
  const clock = new TestClock();
  clock.passes = (ms) => Math.min(ms, 1); // a millisecond a round
  let asked = 0;
  const log = await runTicks(60_000, 26, clock, (_, loop) => {
    if (asked++ < 400) loop.wake();
  });
  assert.equal(log.ticks.filter(({ monoMs }) => monoMs === 1_000).length, 21, "the first and 20 woken ones");
  assert.ok(log.ticks.slice(1, 21).every(({ lateMs }) => lateMs === 0));
  const rest = log.ticks.slice(21);
  assert.ok(rest.length > 0 && rest[0]!.droppedWakes >= 1);
});

Deno.test("Loop tells a stepped clock from a suspended machine", async (t) => {
  await t.step("stepped forward and back", async () => {
    const clock = new TestClock();
    const log = await runTicks(1_000, 4, clock, ({ ticks }) => {
      clock.wallOffsetMs += ticks.length === 1 ? 3_600_000 : ticks.length === 2 ? -7_200_000 : 400;
    });
    assert.deepEqual(log.steps, [3_600_000, -7_200_000]);
    assert.deepEqual(log.resumes, []);
    assert.deepEqual(distances(log), [1_000, 1_000, 1_000]);
  });
  await t.step("suspended", async () => {
    const clock = new TestClock();
    const log = await runTicks(1_000, 3, clock, ({ ticks }) => {
      if (ticks.length > 1) return;
      clock.wallOffsetMs += 90_000;
      clock.bootOffsetMs! += 90_000;
    });
    assert.deepEqual(log.steps, []);
    assert.deepEqual(log.resumes, [[91_000, true]]);
  });
  await t.step("without a boot clock it is a step", async () => {
    const clock = new TestClock();
    clock.bootOffsetMs = undefined;
    const log = await runTicks(1_000, 2, clock, () => void (clock.wallOffsetMs += 90_000));
    assert.deepEqual(log.steps, [90_000]);
  });
});

Deno.test({
  name: "Loop with the real clock samples in time, is woken at once and stops at once",
  // The clock keeps /proc/uptime open for the life of the process.
  sanitizeResources: false,
  async fn() {
    const clock = realClock();
    assert.ok(clock.bootMs()! > 0);
    assert.equal(realClock({ proc: "/nowhere" }).bootMs(), undefined);
    const stop = new AbortController();
    const moments: number[] = [];
    const loop = new Loop(60_000, {
      onTick({ monoMs }) {
        moments.push(monoMs);
        if (moments.length === 1) setTimeout(() => loop.wake(), 1);
        else setTimeout(() => stop.abort(), 1);
      },
      onClockStep() {},
      onResume() {},
    }, clock);
    await loop.run(stop.signal);
    assert.equal(moments.length, 2);
    assert.ok(moments[1]! - moments[0]! < 10_000);
  },
});
