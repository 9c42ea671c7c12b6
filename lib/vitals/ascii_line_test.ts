import assert from "node:assert/strict";
import fc from "fast-check";
import { AsciiLine } from "./ascii_line.ts";

const line = new AsciiLine();
function formatted(value: number): string {
  line.clear();
  line.number(value);
  return line.toString();
}

Deno.test("AsciiLine.number() writes whole numbers as JavaScript does", () => {
  fc.assert(fc.property(fc.maxSafeInteger(), (value) => {
    assert.equal(formatted(value), String(value));
  }));
  for (const value of [0, 9, 10, 99, 100, 999999999, 1e9, 1e15, Number.MAX_SAFE_INTEGER]) {
    assert.equal(formatted(value), String(value));
    assert.equal(formatted(-value), value === 0 ? "0" : String(-value));
  }
  assert.equal(formatted(2 ** 63), "9223372036854775808");
  assert.equal(formatted(1e21), "1000000000000000000000");
});

Deno.test("AsciiLine.number() writes three decimals at most", () => {
  const rows: [number, string][] = [
    [0.5, "0.5"],
    [1.25, "1.25"],
    [2 / 3, "0.667"],
    [0.0004, "0"],
    [-0.0004, "0"],
    [-0.25, "-0.25"],
    [0.9999, "1"],
    [99.9996, "100"],
    [1.01, "1.01"],
    [0.007, "0.007"],
    [1e-9, "0"],
  ];
  for (const [value, text] of rows) assert.equal(formatted(value), text);
  fc.assert(fc.property(fc.double({ min: -1e9, max: 1e9, noNaN: true }), (value) => {
    const text = formatted(value);
    assert.match(text, /^-?\d+(?:\.\d{1,3})?$/);
    assert.ok(Math.abs(Number(text) - value) <= 0.000501, `${value} ${text}`);
  }));
});

Deno.test("AsciiLine grows", () => {
  line.clear();
  const text = "x".repeat(20_000);
  line.text(text);
  line.number(12);
  line.text(text);
  assert.equal(line.toString(), `${text}12${text}`);
});
