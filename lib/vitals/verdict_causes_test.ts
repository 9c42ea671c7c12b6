/**
 * That each cause is found, and that no neighbouring rule takes its log for its own: the whole list of what was seen is
 * compared.
 *
 * @module
 */
import assert from "node:assert/strict";
import { CAUSES } from "../../testdata/vitals_causes.ts";
import { verdictOfLines } from "./verdict.ts";

Deno.test("verdictOf() finds each cause, and no other in its log", async (t) => {
  for (const { name, log, sees, confidence, also = [], evidence } of CAUSES) {
    await t.step(name, () => {
      const verdict = verdictOfLines(log.lines);
      assert.deepEqual(
        {
          class: verdict.class,
          confidence: verdict.confidence,
          also: verdict.alsoSeen.map((one) => one.class),
        },
        { class: sees, confidence, also },
        verdict.summary,
      );
      assert.ok(verdict.evidence.some(({ text }) => evidence.test(text)), JSON.stringify(verdict.evidence));
      for (const { text } of verdict.evidence) assert.ok(log.lines.includes(text), "evidence is verbatim");
      assert.ok(verdict.check.length > 0);
    });
  }
});

Deno.test("a job that exited with 0 ended well, whatever else is in its log", async (t) => {
  for (const { name, log, sees } of CAUSES) {
    await t.step(name, () => {
      const verdict = verdictOfLines(log.lines, { end: { reason: "exit", code: 0 }, jobExit: 0 });
      assert.equal(verdict.class, "clean_end");
      const seen = sees.startsWith("oom_") ? "oom_contained" : sees;
      assert.deepEqual(verdict.alsoSeen.map((one) => one.class), [seen]);
    });
  }
});

Deno.test("each cause that is long past is no cause", async (t) => {
  for (const { name, log, sees, later } of CAUSES) {
    if (log.lines.some((line) => line.includes(" kind=end "))) continue;
    await t.step(name, () => {
      const verdict = verdictOfLines(log.samples(80).lines);
      const expected = later ?? (sees.startsWith("oom_") ? "oom_contained" : "external_end");
      assert.equal(verdict.class, expected, verdict.summary);
    });
  }
});
