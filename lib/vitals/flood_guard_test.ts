import assert from "node:assert/strict";
import { FloodGuard, TokenBucket } from "./flood_guard.ts";

Deno.test("TokenBucket gives a burst, then its rate, and counts refusals", () => {
  const bucket = new TokenBucket({ burst: 3, perSecond: 2 });
  const taken = (nowMs: number, times: number) =>
    Array.from({ length: times }, () => bucket.take(nowMs)).filter(Boolean).length;
  assert.equal(taken(1_000, 10), 3);
  assert.equal(bucket.takeDropped(), 7);
  assert.equal(bucket.takeDropped(), 0);
  assert.equal(taken(1_400, 10), 0, "0.8 of a token");
  assert.equal(taken(2_000, 10), 2);
  assert.equal(taken(1_000_000, 10), 3, "no more than the burst");
  assert.equal(taken(5, 10), 0, "a clock that went back gives nothing");
});

Deno.test("FloodGuard lets the same thing pass once a minute and tells how often it came", () => {
  const guard = new FloodGuard();
  assert.deepEqual(guard.admit("a", 0), { repeats: 0, dropped: 0 });
  for (let times = 0; times < 500; times++) assert.equal(guard.admit("a", 59_999), undefined);
  assert.deepEqual(guard.admit("b", 59_999), { repeats: 0, dropped: 0 });
  assert.deepEqual(guard.admit("a", 60_000), { repeats: 500, dropped: 0 });
  guard.admit("a", 60_001);
  assert.equal(guard.takeHeld(), 1);
  assert.equal(guard.takeHeld(), 0);
});

Deno.test("FloodGuard bounds different things too, in number and in memory", () => {
  const guard = new FloodGuard();
  let passed = 0;
  for (let index = 0; index < 100_000; index++) if (guard.admit(`thing ${index}`, index / 1_000)) passed++;
  assert.ok(passed >= 20 && passed <= 20 + 2 * 100 + 1, `${passed} in 0.1 s`);
  assert.equal(passed + guard.takeHeld(), 100_000);
});
