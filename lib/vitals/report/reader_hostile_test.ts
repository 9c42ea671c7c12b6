import assert from "node:assert/strict";
import { VitalsLog } from "../../../testdata/vitals_log.ts";
import type { History } from "./history.ts";
import { readLog } from "./reader.ts";

const HEAD = "RUNNER_VITALS kind=sample ts=2026-11-21T09:00:00.000Z mono_ms=1";
const TAGS = "RUNNER_VITALS ".repeat(15_000);

async function read(text: string): Promise<History> {
  const [history] = await readLog(new Blob([text]).stream(), { name: "log" });
  return history!;
}

Deno.test("readLog() takes a line with a day that does not exist for a torn one", async () => {
  const lines = ["sample", "event", "start", "end"].map((kind) =>
    `RUNNER_VITALS kind=${kind} ts=2026-99-99T99:99:99.999Z mono_ms=1 seq=1`
  );
  const { torn, runs } = await read(`${new VitalsLog().start().samples(3).text()}${lines.join("\n")}\n`);
  assert.deepEqual([torn, runs.length, runs[0]!.samples.length], [4, 1, 3]);
});

Deno.test("readLog() keeps no more of a line than a probe may write", async () => {
  const { runs: [run] } = await read(`${HEAD} mem_current=5 ${"a=1 ".repeat(50_000)}\n`);
  assert.equal(run!.samples[0]!.number("mem_current"), 5);
  assert.ok(run!.samples[0]!.text.length <= 8_192);
});

Deno.test("readLog() finds the lines of a giant line once each", async () => {
  const lines = [1, 2, 3].map((second) =>
    `${HEAD.replace("00.000Z", `0${second}.000Z`)} mem_current=${second} oom=0`
  );
  const { runs: [run], duplicates } = await read(`${"#".repeat(1 << 19)}${lines.join(" ")} \n`);
  assert.deepEqual(run!.samples.map((sample) => sample.number("mem_current")), [1, 2, 3]);
  assert.equal(duplicates, 0);
});

Deno.test("readLog() is through with thousands of tags in a line in time", async (t) => {
  // Each line took six seconds and more when every tag had a look at all of it; now two take a fraction of one.
  const cases: Record<string, string> = {
    "after an open quote": `RUNNER_VITALS "${TAGS}\n`,
    "in a string of JSON": `{"a":["${TAGS}"]}\n`,
    "in a string that is none": `{"a":"${TAGS}\\x"\n`,
    "in no string": `{${TAGS}}\n`,
    "in a giant line": `${TAGS.repeat(4)}\n`,
  };
  for (const [name, line] of Object.entries(cases)) {
    await t.step(name, async () => {
      const began = performance.now();
      const { runs } = await read(line.repeat(2));
      assert.deepEqual(runs, []);
      assert.ok(performance.now() - began < 20_000);
    });
  }
  await t.step("pairs that cannot be read, in the middle of pairs", async () => {
    const began = performance.now();
    const { runs: [run] } = await read(
      `${HEAD} mem_current=5 ${"a=1 ".repeat(900)}b"c ${"d=1 ".repeat(900)}\n`,
    );
    assert.equal(run!.samples[0]!.number("mem_current"), 5);
    assert.ok(performance.now() - began < 10_000);
  });
});
