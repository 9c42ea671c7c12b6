import assert from "node:assert/strict";
import fc from "fast-check";
import { formatBytes, formatDuration, parseBytes, parseDuration } from "./units.ts";

Deno.test("parseDuration() reads what people write", async (t) => {
  for (
    const [text, ms] of [
      ["600", 600_000],
      ["0", 0],
      ["0.5", 500],
      ["500ms", 500],
      ["10m", 600_000],
      ["1h30m", 5_400_000],
      ["1.5h", 5_400_000],
      ["2d", 172_800_000],
      ["1m30s500ms", 90_500],
      [" 10s ", 10_000],
    ] as const
  ) await t.step(JSON.stringify(text), () => assert.equal(parseDuration(text), ms));
});

Deno.test("parseDuration() refuses the rest", async (t) => {
  const texts = [
    "",
    " ",
    "s",
    "-1",
    "+1",
    "1x",
    "1h30",
    "1 m",
    "1m 30s",
    "10M",
    "1e3",
    "1.",
    ".5",
    "0x10",
    "Infinity",
    "9".repeat(20),
  ];
  for (const text of texts) {
    await t.step(JSON.stringify(text), () => {
      assert.throws(() => parseDuration(text), {
        name: "SyntaxError",
        message: /^expected a duration such as/,
      });
    });
  }
});

Deno.test("formatDuration() uses at most two units", async (t) => {
  for (
    const [ms, text] of [
      [0, "0.0 s"],
      [449, "0.4 s"],
      [9_949, "9.9 s"],
      [12_400, "12 s"],
      [59_400, "59 s"],
      [59_600, "1 m"],
      [200_000, "3 m 20 s"],
      [3_599_600, "1 h"],
      [7_500_000, "2 h 5 m"],
      [86_399_000, "1 d"],
      [93_600_000, "1 d 2 h"],
    ] as const
  ) await t.step(text, () => assert.equal(formatDuration(ms), text));
});

Deno.test("parseBytes() reads decimal and binary units", async (t) => {
  for (
    const [text, bytes] of [
      ["0", 0],
      ["4096", 4096],
      ["4096B", 4096],
      ["64k", 64_000],
      ["64kB", 64_000],
      ["64KiB", 65_536],
      ["64ki", 65_536],
      ["1.5GB", 1_500_000_000],
      ["20GiB", 21_474_836_480],
      ["2 TB", 2_000_000_000_000],
      ["1PiB", 1_125_899_906_842_624],
    ] as const
  ) await t.step(text, () => assert.equal(parseBytes(text), bytes));
});

Deno.test("parseBytes() refuses the rest", async (t) => {
  for (const text of ["", "-1", "k", "1 k b", "1e3", "1EB", "0x10", "1.", "GiB"]) {
    await t.step(JSON.stringify(text), () => {
      assert.throws(() => parseBytes(text), { name: "SyntaxError", message: /^expected a size such as/ });
    });
  }
  await t.step("too large", () => {
    assert.throws(() => parseBytes("9PiB"), { name: "SyntaxError", message: `size "9PiB" is too large` });
  });
});

Deno.test("formatBytes() shows three digits and never a thousand of a unit", async (t) => {
  for (
    const [bytes, text] of [
      [0, "0 B"],
      [999, "999 B"],
      [1000, "1.00 kB"],
      [9_994, "9.99 kB"],
      [9_996, "10.0 kB"],
      [99_960, "100 kB"],
      [999_499, "999 kB"],
      [999_500, "1.00 MB"],
      [18_200_000_000, "18.2 GB"],
      [Number.MAX_SAFE_INTEGER, "9.01 PB"],
    ] as const
  ) await t.step(text, () => assert.equal(formatBytes(bytes), text));
});

Deno.test("what is formatted is read back, within its digits", () => {
  fc.assert(fc.property(fc.maxSafeNat().map((value) => Math.min(value, 9e15)), (value) => {
    const bytes = parseBytes(formatBytes(value));
    assert.ok(Math.abs(bytes - value) <= value * 0.005, `${value} came back as ${bytes}`);
  }));
  fc.assert(fc.property(fc.nat(1e12), (value) => {
    const ms = parseDuration(formatDuration(value).replaceAll(" ", ""));
    // Two units: the second is at least one sixtieth of the first, except hours in days.
    assert.ok(Math.abs(ms - value) <= Math.max(50, value / 20), `${value} came back as ${ms}`);
  }));
});

Deno.test("parsers return a whole number or throw SyntaxError, whatever they are given", () => {
  const texts = fc.oneof(fc.string(), fc.stringMatching(/^[0-9. kKmMgGtTpPiIbBshd]{0,30}$/));
  for (const parse of [parseDuration, parseBytes]) {
    fc.assert(fc.property(texts, (text) => {
      try {
        assert.ok(Number.isSafeInteger(parse(text)) && parse(text) >= 0);
      } catch (error) {
        assert.ok(error instanceof SyntaxError, String(error));
      }
    }));
  }
});
