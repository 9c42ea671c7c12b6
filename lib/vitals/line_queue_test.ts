import assert from "node:assert/strict";
import { LineQueue, type LineWriter, type QueueState } from "./line_queue.ts";

class Errno extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

/** A writer that fails with `errno` for as long as that is set. */
function writer(isAsync: boolean) {
  const state = { errno: undefined as string | undefined, written: [] as string[] };
  function put(line: string, lost: number): void {
    if (state.errno !== undefined) throw new Errno(state.errno);
    state.written.push(lost > 0 ? `${line}+${lost}` : line);
  }
  const write: LineWriter = isAsync
    ? async (line, lost) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      put(line, lost);
    }
    : put;
  return { state, write };
}

const FAST = { fastRetryMs: 5, slowRetryMs: 10 };

Deno.test("LineQueue writes in order, at once where it can", async (t) => {
  await t.step("synchronous", () => {
    const { state, write } = writer(false);
    const queue = new LineQueue(write);
    queue.push("a");
    queue.push("b");
    assert.deepEqual(state.written, ["a", "b"]);
  });
  await t.step("asynchronous", async () => {
    const { state, write } = writer(true);
    const queue = new LineQueue(write);
    for (const line of ["a", "b", "c"]) queue.push(line);
    assert.equal(await queue.drain(10_000), true);
    assert.deepEqual(state.written, ["a", "b", "c"]);
  });
});

Deno.test("LineQueue keeps the newest lines of a stalled writer and counts the others", async (t) => {
  for (const isAsync of [false, true]) {
    await t.step(isAsync ? "asynchronous" : "synchronous", async () => {
      const { state, write } = writer(isAsync);
      const states: QueueState[] = [];
      const queue = new LineQueue(write, { ...FAST, capacity: 3, onState: (it) => states.push(it) });
      state.errno = "EAGAIN";
      for (const line of ["a", "b", "c", "d", "e"]) queue.push(line);
      assert.equal(await queue.drain(30), false);
      assert.equal(queue.lost, 2);
      state.errno = undefined;
      assert.equal(await queue.drain(10_000), true);
      queue.push("f");
      assert.equal(await queue.drain(10_000), true);
      // The first one was tried, it may be half written.
      assert.deepEqual(state.written, ["a", "d+2", "e", "f"]);
      assert.deepEqual(states, [], "slow is not lost");
    });
  }
});

Deno.test("LineQueue tells once that a channel is lost and once that it is back, and tries by itself", async () => {
  const { state, write } = writer(false);
  const back = Promise.withResolvers<void>();
  const states: QueueState[] = [];
  const queue = new LineQueue(write, {
    ...FAST,
    onState(it) {
      states.push(it);
      if (it.kind === "back") back.resolve();
    },
  });
  state.errno = "ENOSPC";
  for (const line of ["a", "b", "c"]) queue.push(line);
  await new Promise((resolve) => setTimeout(resolve, 40));
  state.errno = undefined;
  await back.promise;
  assert.deepEqual(state.written, ["a", "b", "c"]);
  assert.deepEqual(states, [{ kind: "lost", errno: "ENOSPC", lost: 0 }, { kind: "back", lost: 0 }]);
});

Deno.test("LineQueue survives an error that has no errno", async () => {
  const states: QueueState[] = [];
  let fails = 2;
  const queue = new LineQueue(async () => {
    await Promise.resolve();
    if (fails-- > 0) throw new TypeError("not what was expected");
  }, { ...FAST, onState: (it) => states.push(it) });
  queue.push("a");
  assert.equal(await queue.drain(10_000), true);
  assert.deepEqual(states.map((it) => it.kind === "lost" ? it.errno : it.kind), ["TypeError", "back"]);
});

Deno.test("LineQueue rests after a drain that was in vain, also when a write ends only then", async () => {
  const { promise, reject } = Promise.withResolvers<void>();
  let tries = 0;
  const queue = new LineQueue(() => ++tries === 1 ? promise : undefined, FAST);
  queue.push("a");
  assert.equal(await queue.drain(5), false);
  reject(new Errno("EIO"));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(tries, 1);
  queue.push("b");
  assert.equal(tries, 3, "both lines are written at once");
});
