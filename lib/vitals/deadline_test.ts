import assert from "node:assert/strict";
import { Deadline } from "./deadline.ts";

/** Nothing of this process runs meanwhile, as when it is stopped. */
function stand(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** What comes first: the deadline, or an answer that needs `answerMs` once we run again. */
async function race(deadline: Deadline, answerMs: number): Promise<"late" | "answer"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const answer = new Promise<"answer">((resolve) => timer = setTimeout(resolve, answerMs, "answer"));
  const first = await Promise.race([deadline.reached, answer]);
  clearTimeout(timer);
  return first;
}

Deno.test("Deadline ends in time", async () => {
  using deadline = new Deadline(20);
  assert.equal(await race(deadline, 10_000), "late");
});

Deno.test("Deadline does not count a stop", async () => {
  using deadline = new Deadline(200);
  stand(1_000);
  assert.equal(await race(deadline, 50), "answer");
});

Deno.test("Deadline ends also where every timer is late", async () => {
  using deadline = new Deadline(10);
  const standing = setInterval(() => stand(600), 0);
  assert.equal(await race(deadline, 30_000), "late");
  clearInterval(standing);
});
