import assert from "node:assert/strict";
import fc from "fast-check";
import { nextDelayMs, parseRetryAfter, sleep } from "./backoff.ts";

Deno.test("nextDelayMs() stays between nothing and the doubled base, and under the cap", () => {
  const top = () => 0.999999;
  assert.deepEqual([1, 2, 3, 4, 9].map((n) => nextDelayMs(n, { baseMs: 100, capMs: 500, random: top })), [
    100,
    200,
    400,
    500,
    500,
  ]);
  assert.equal(nextDelayMs(5, { baseMs: 100, capMs: 500, random: () => 0 }), 0);
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 5000 }),
    fc.nat(1e6),
    fc.nat(1e6),
    fc.nat(1e9),
    (attempt, baseMs, capMs, retryAfterMs) => {
      const ms = nextDelayMs(attempt, { baseMs, capMs, retryAfterMs });
      assert(Number.isInteger(ms) && ms >= Math.min(capMs, retryAfterMs) && ms <= capMs);
    },
  ));
});

Deno.test("parseRetryAfter() reads seconds and dates and nothing else", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  assert.equal(parseRetryAfter("3", now), 3000);
  assert.equal(parseRetryAfter("Thu, 01 Jan 2026 00:00:07 GMT", now), 7000);
  assert.equal(parseRetryAfter("Wed, 31 Dec 2025 00:00:07 GMT", now), 0);
  for (const text of [null, "", "-1", "1.5", "soon", "2026-01-01", "99999999999"]) {
    assert.equal(parseRetryAfter(text, now), undefined);
  }
});

Deno.test("sleep() ends early with the signal's reason and leaves no timer", async () => {
  const stop = new AbortController();
  const reason = new Error("enough");
  setTimeout(() => stop.abort(reason), 5);
  await assert.rejects(sleep(60_000, stop.signal), (error) => error === reason);
  await assert.rejects(sleep(1, stop.signal), (error) => error === reason);
  await sleep(1, new AbortController().signal);
});
