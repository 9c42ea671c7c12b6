import assert from "node:assert/strict";
import { MemoryBound } from "./memory_bound.ts";

Deno.test("MemoryBound collects above its bound, and not again at once", async () => {
  const kept: unknown[] = [];
  let isCollected = false;
  const registry = new FinalizationRegistry(() => isCollected = true);
  kept.push({ large: new Array(100_000).fill(0) });
  registry.register(kept[0] as object, "x");
  kept.length = 0;
  const bound = new MemoryBound({ fromBytes: 1, everyMs: 60_000 });
  assert.equal(await bound.check(), true);
  assert.equal(await bound.check(), false);
  // The registry is told in a task of its own.
  for (let round = 0; round < 100 && !isCollected; round++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(isCollected);
});

Deno.test("MemoryBound leaves a small process alone", async () => {
  assert.equal(await new MemoryBound({ fromBytes: 1e12 }).check(), false);
});
