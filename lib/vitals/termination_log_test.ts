import assert from "node:assert/strict";
import { tempDir } from "../../testdata/temp.ts";
import type { QueueState } from "./line_queue.ts";
import { lastWords, TERMINATION_LOG_BYTES, TerminationLog } from "./termination_log.ts";

Deno.test("TerminationLog keeps start, events, last sample and end in a file that is written in place", async () => {
  await using dir = await tempDir("last-words");
  const path = dir.join("log");
  await Deno.writeTextFile(path, "x".repeat(9_000));
  const { ino } = await Deno.stat(path);
  let nowMs = 0;
  const log = new TerminationLog(path, { nowMs: () => nowMs });
  const read = async () => {
    assert.equal(await log.drain(10_000), true);
    return await Deno.readTextFile(path);
  };
  log.note("start", "start\n");
  log.note("sample", "sample 1\n");
  assert.equal(await read(), "start\n", "a sample alone waits for its time");
  nowMs = 10_000;
  log.note("sample", "sample 2\n");
  assert.equal(await read(), "start\nsample 2\n");
  nowMs += 1;
  log.note("sample", "sample 3\n");
  log.note("event", "oom\n");
  assert.equal(await read(), "start\noom\nsample 3\n", "an event brings the newest sample with it");
  log.note("end", "end\n");
  assert.equal(await read(), "start\noom\nsample 3\nend\n");
  assert.equal((await Deno.stat(path)).ino, ino, "it is a mount point in a pod: no rename");
});

Deno.test("lastWords() gives up the start first, then the oldest events, and never cuts a line", () => {
  const events = Array.from({ length: 16 }, (_, index) => `event ${index} ${"x".repeat(500)}\n`);
  const text = lastWords(["start\n", ...events, "sample\n", "end\n"]);
  assert.ok(new TextEncoder().encode(text).length <= TERMINATION_LOG_BYTES);
  assert.deepEqual(text.trimEnd().split("\n").map((line) => line.split(" x")[0]), [
    ...["event 8", "event 9", "event 10", "event 11", "event 12", "event 13", "event 14", "event 15"],
    ...["sample", "end"],
  ]);
  assert.equal(lastWords([undefined, "x".repeat(5_000), "end\n"]), "end\n");
});

Deno.test("TerminationLog says that it cannot write, once, and does when it can", async () => {
  await using dir = await tempDir("last-words-lost");
  const states: QueueState[] = [];
  const log = new TerminationLog(dir.join("no/log"), { slowRetryMs: 5, onState: (it) => states.push(it) });
  log.note("start", "start\n");
  log.note("event", "event\n");
  assert.equal(await log.drain(50), false);
  await Deno.mkdir(dir.join("no"));
  assert.equal(await log.drain(10_000), true);
  assert.deepEqual(states.map(({ kind }) => kind), ["lost", "back"]);
  assert.equal(await Deno.readTextFile(dir.join("no/log")), "start\nevent\n");
});
