import assert from "node:assert/strict";
import { Activity } from "./activity.ts";

Deno.test("Activity sums its bars and knows no total while one is of unknown size", () => {
  const activity = new Activity();
  assert.deepEqual([activity.doneBytes, activity.totalBytes], [0, undefined]);
  activity.begin("download");
  const first = activity.bar("a", "layer a", 10);
  const second = activity.bar("b", "layer b");
  first.done = 4;
  second.done = 3;
  assert.deepEqual([activity.doneBytes, activity.totalBytes], [7, undefined]);
  second.total = 5;
  assert.deepEqual([activity.doneBytes, activity.totalBytes], [7, 15]);
});

Deno.test("Activity starts a phase without the bars and the attempts of the one before", () => {
  const activity = new Activity();
  activity.begin("download");
  activity.bar("a", "layer a", 10).done = 10;
  activity.attempt = 3;
  activity.begin("merge");
  assert.deepEqual([activity.phase, activity.attempt, activity.bars.size, activity.doneBytes], [
    "merge",
    1,
    0,
    0,
  ]);
});

Deno.test("Activity gives a bar that is asked for again a new start in its old place", () => {
  const activity = new Activity();
  activity.bar("a", "layer a", 10).done = 9;
  activity.bar("b", "layer b", 10).done = 1;
  activity.bar("a", "layer a", 10);
  assert.equal(activity.doneBytes, 1);
  assert.deepEqual([...activity.bars.keys()], ["a", "b"]);
});
