import assert from "node:assert/strict";
import { HangGuard } from "./hang_guard.ts";

Deno.test("HangGuard waits for the hung attempt to be gone, and longer each time", async () => {
  const guard = new HangGuard({ firstMs: 30_000, capMs: 300_000 });
  assert.ok(guard.mayTry(0));
  const first = Promise.withResolvers<void>();
  guard.hung(first.promise, 0);
  assert.equal(guard.mayTry(1_000_000), false, "it is still there");
  first.reject(new Error("its end may be an error"));
  await first.promise.catch(() => {});
  assert.equal(guard.mayTry(29_999), false);
  assert.ok(guard.mayTry(30_000));
  for (const waitMs of [60_000, 120_000, 240_000, 300_000, 300_000]) {
    guard.hung(Promise.resolve(), 0);
    await Promise.resolve();
    assert.equal(guard.mayTry(waitMs - 1), false, `${waitMs}`);
    assert.ok(guard.mayTry(waitMs));
  }
  guard.answered();
  guard.hung(Promise.resolve(), 0);
  await Promise.resolve();
  assert.ok(guard.mayTry(30_000), "an answer forgets what was");
});
