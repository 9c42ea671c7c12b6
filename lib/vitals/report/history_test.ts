import assert from "node:assert/strict";
import { VitalsLog } from "../../../testdata/vitals_log.ts";
import { verdictOf } from "../verdict.ts";
import { readLog } from "./reader.ts";

async function historyOf(lines: readonly string[]) {
  const [history] = await readLog(new Blob([lines.map((line) => `${line}\n`).join("")]).stream(), {
    name: "log",
  });
  return history!;
}

/** Five hours of a machine with eight GPUs: more than is kept. */
function longLog(): VitalsLog {
  const log = new VitalsLog().start();
  for (let round = 0; round < 2_000; round++) {
    log.samples(3);
    for (let gpu = 0; gpu < 8; gpu++) log.gpu({ gpu, uuid: `GPU-${gpu}` });
  }
  return log;
}

Deno.test("HistoryBuilder keeps the end of a long log, and the whole of it thinned out", async (t) => {
  const log = longLog();
  for (const [name, lines] of [["in order", log.lines], ["newest first", log.lines.toReversed()]] as const) {
    await t.step(name, async () => {
      const { runs: [run] } = await historyOf(lines);
      assert.equal(run!.sampleCount, 6_000);
      assert.ok(run!.samples.length >= 2_000 && run!.samples.length < 6_000);
      assert.equal(run!.samples.at(-1)!.text, log.lines.findLast((line) => line.includes("kind=sample")));
      assert.ok(run!.overview.length >= 500 && run!.overview.length <= 2_048);
      const span = run!.overview.at(-1)!.tsMs - run!.overview[0]!.tsMs;
      assert.ok(span > 0.99 * 6_000 * 3_000, `${span}`);
    });
  }
});

Deno.test("lines that were not kept are not lost ones", async () => {
  const verdict = verdictOf(await historyOf(longLog().lines));
  assert.deepEqual([verdict.class, verdict.alsoSeen], ["external_end", []]);
});

Deno.test("no flood of events hides a kill", async () => {
  const log = new VitalsLog().start().samples(5)
    .event("oom", { scope: "own", pid: 7, comm: "x", oom_memcg: "/c1" });
  for (let index = 0; index < 3_000; index++) log.event("kernel", { tag: "netdev", text: `line ${index}` });
  const verdict = verdictOf(await historyOf(log.lines));
  assert.equal(verdict.class, "oom_own");
});

Deno.test("a clock that was set back does not turn the order round", async () => {
  const log = new VitalsLog().start().samples(20);
  log.nowMs -= 60_000;
  log.event("clock_step", { delta_ms: -60_000 }).samples(20);
  const { runs: [run] } = await historyOf(log.lines);
  const sequence = run!.samples.map(({ monoMs }) => monoMs!);
  assert.deepEqual(sequence, sequence.toSorted((a, b) => a - b));
});
