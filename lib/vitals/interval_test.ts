import assert from "node:assert/strict";
import fc from "fast-check";
import { MAX_INTERVAL_MS, MIN_INTERVAL_MS, readInterval } from "./interval.ts";

const SILENT: [text: string | undefined, ms: number][] = [
  [undefined, 3_000],
  ["", 3_000],
  ["1.5", 1_500],
  [" 5 ", 5_000],
  ["5\n", 5_000],
  ["5 ", 5_000],
  ["5s", 5_000],
  ["250ms", 250],
  ["010", 10_000],
  ["08", 8_000],
  ["0.2", 200],
  ["60", 60_000],
  ["60000ms", 60_000],
];

const CHANGED: [text: string, ms: number, reason: RegExp][] = [
  ["0", 3_000, /not positive/],
  ["0.0s", 3_000, /not positive/],
  ["-1", 3_000, /not a number/],
  ["-0", 3_000, /not a number/],
  ["abc", 3_000, /not a number/],
  ["1e3", 3_000, /not a number/],
  ["999999999999", 60_000, /above/],
  ["61", 60_000, /above/],
  ["9223372036854775807", 3_000, /not a number/],
  ["9223372036854775808", 3_000, /not a number/],
  ["12345678901234567890", 3_000, /not a number/],
  ["0x10", 3_000, /not a number/],
  ...["NaN", "nan", "inf", "infinity"].map((text): [string, number, RegExp] => [text, 3_000, /not a number/]),
  ["0.05", 200, /below/],
  ["199ms", 200, /below/],
  ["+5", 3_000, /not a number/],
  ["1,5", 3_000, /not a number/],
  ["5m", 3_000, /not a number/],
  ["3;id", 3_000, /not a number/],
  ["٣", 3_000, /not a number/],
  ["\u00a05", 3_000, /not a number/],
  ["5 5", 3_000, /not a number/],
];

Deno.test("readInterval() takes what makes sense without a word", async (t) => {
  for (const [text, ms] of SILENT) {
    await t.step(
      JSON.stringify(text ?? "unset"),
      () => assert.deepEqual(readInterval(text), { effectiveMs: ms }),
    );
  }
});

Deno.test("readInterval() gives the default or the nearest bound for the rest, and says so", async (t) => {
  for (const [text, ms, reason] of CHANGED) {
    await t.step(JSON.stringify(text), () => {
      const { effectiveMs, change } = readInterval(text);
      assert.equal(effectiveMs, ms);
      assert.equal(change?.raw, text);
      assert.match(change.reason, reason);
    });
  }
});

Deno.test("readInterval() keeps 64 characters of a long text", () => {
  assert.equal(readInterval("😀".repeat(1_000)).change?.raw, "😀".repeat(64));
});

Deno.test("readInterval() gives an interval in range for any text", () => {
  const digits = fc.tuple(fc.bigInt({ min: 0n }), fc.constantFrom("", "s", "ms", ".5", ".000000001s"))
    .map(([number, rest]) => `${number}${rest}`);
  fc.assert(fc.property(fc.oneof(fc.string({ unit: "binary" }), digits), (text) => {
    const { effectiveMs } = readInterval(text);
    assert.ok(Number.isInteger(effectiveMs));
    assert.ok(effectiveMs >= MIN_INTERVAL_MS && effectiveMs <= MAX_INTERVAL_MS);
  }));
});
