import assert from "node:assert/strict";
import fc from "fast-check";
import { type Sample, SAMPLE_KEYS, type SampleKey } from "./keys.ts";
import {
  DEFAULT_TAG,
  formatLine,
  formatSample,
  LINE_LIMIT_BYTES,
  numberIn,
  parseLine,
  parseTag,
  sampleIn,
} from "./line.ts";

const MOMENT = { wallMs: Date.UTC(2026, 10, 21, 9, 0, 0, 123), monoMs: 4567.8 };
const HOSTILE = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({
    unit: fc.constantFrom('"', "\\", "\n", "\x1b", "\0", "=", " ", "\u2028", "\ud800", "ö", "𝄞", "n"),
  }),
);
const KEY = fc.stringMatching(/^[a-z][a-z0-9_]{0,12}$/)
  .filter((key) => !["kind", "ts", "mono_ms", "cut", "__proto__"].includes(key));
const bytes = (text: string) => new TextEncoder().encode(text).length;

Deno.test("formatSample() writes the keys in the table's order, whatever the sample's", () => {
  const sample: Sample = new Map<SampleKey, number | "max">([["seq", 7], ["mem_max", "max"], ["load1", 0.5], [
    "vm_mem_total_kb",
    24684096,
  ]]);
  assert.equal(
    formatSample(DEFAULT_TAG, MOMENT, sample),
    "RUNNER_VITALS kind=sample ts=2026-11-21T09:00:00.123Z mono_ms=4568 " +
      "vm_mem_total_kb=24684096 mem_max=max load1=0.5 seq=7\n",
  );
});

Deno.test("formatSample() stays below 4096 bytes when every key has its longest value", () => {
  for (const longest of [-(2 ** 53) + 1, -123456789012.125, 2 ** 63]) {
    const sample: Sample = new Map<SampleKey, number | "max">(SAMPLE_KEYS.map((key) => [key, longest]));
    const line = formatSample("T".repeat(64), MOMENT, sample);
    assert.ok(bytes(line) < 4096, `${bytes(line)} bytes`);
    assert.equal(parseLine(line.trimEnd())?.fields.size, SAMPLE_KEYS.length);
  }
});

Deno.test("numbers have no exponent, at most three decimals, and are left out when they are none", () => {
  const rows: [number, string][] = [
    [0, " n=0"],
    [-0, " n=0"],
    [1.25, " n=1.25"],
    [0.0004, " n=0"],
    [1e-9, " n=0"],
    [2 / 3, " n=0.667"],
    [1e21, " n=1000000000000000000000"],
    [2 ** 63, " n=9223372036854775808"],
    [NaN, ""],
    [Infinity, ""],
  ];
  for (const [value, text] of rows) {
    assert.equal(
      formatLine("T", "event", MOMENT, { n: value }),
      `T kind=event ts=2026-11-21T09:00:00.123Z mono_ms=4568${text}\n`,
    );
  }
});

Deno.test("parseLine() gets back what formatLine() was given", () => {
  const values = fc.oneof(
    HOSTILE.filter((text) => text.length < 100),
    fc.integer(),
    fc.boolean(),
    fc.constant(undefined),
  );
  fc.assert(
    fc.property(
      fc.dictionary(KEY, values, { noNullPrototype: true, maxKeys: 5 }),
      fc.constantFrom("start", "sample", "event", "gpu", "end"),
      fc.integer({ min: 0, max: 4e12 }),
      fc.nat(),
      (fields, kind, wallMs, monoMs) => {
        const line = formatLine(DEFAULT_TAG, kind, { wallMs, monoMs }, fields);
        const wanted = Object.entries(fields).filter(([, value]) => value !== undefined)
          .map(([key, value]) => [key, typeof value === "string" ? value.toWellFormed() : String(value)]);
        assert.deepEqual(parseLine(line.slice(0, -1)), {
          tag: DEFAULT_TAG,
          kind,
          wallMs,
          monoMs,
          fields: new Map(wanted as [string, string][]),
        });
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("formatLine() stays below 4096 bytes, one line without controls, whatever the values", () => {
  const huge = fc.oneof(
    HOSTILE,
    fc.tuple(HOSTILE, fc.integer({ min: 1, max: 5000 })).map(([a, n]) => a.repeat(n % 300 + 1)),
  );
  fc.assert(
    fc.property(fc.dictionary(KEY, huge, { noNullPrototype: true, maxKeys: 60 }), (fields) => {
      const line = formatLine("T".repeat(64), "event", MOMENT, fields);
      assert.ok(bytes(line) <= LINE_LIMIT_BYTES, `${bytes(line)} bytes`);
      // deno-lint-ignore no-control-regex -- what is looked for
      assert.doesNotMatch(line.slice(0, -1), /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
      assert.ok(line.endsWith("\n"));
      assert.notEqual(parseLine(line.slice(0, -1)), undefined);
    }),
    { numRuns: 200 },
  );
});

Deno.test("formatLine() cuts the longest texts first, marks them, and counts keys that it leaves out", () => {
  const cut = parseLine(formatLine("T", "event", MOMENT, { text: "x".repeat(9000), pid: 12 }).trimEnd());
  assert.match(cut!.fields.get("text")!, /^x{900,}…$/);
  assert.equal(cut!.fields.get("pid"), "12");
  const escaped = parseLine(formatLine("T", "event", MOMENT, { text: "\x1b".repeat(9000) }).trimEnd());
  assert.match(escaped!.fields.get("text")!, new RegExp(`^${"\x1b"}{100,}…$`));
  const many = Object.fromEntries(
    Array.from({ length: 300 }, (_, index) => [`key_${index}`, "y".repeat(100)]),
  );
  const shortened = parseLine(formatLine("T", "event", MOMENT, many).trimEnd())!;
  assert.equal(shortened.fields.size - 1 + Number(shortened.fields.get("cut")), 300);
  // exactly the longest text that still fits is left as it is
  const exact = "z".repeat(1024);
  assert.equal(parseLine(formatLine("T", "event", MOMENT, { exact }).trimEnd())!.fields.get("exact"), exact);
});

Deno.test("a torn line is refused, or loses its end only", () => {
  const line = formatLine(DEFAULT_TAG, "event", MOMENT, {
    seq: 3,
    event: "oom",
    comm: 'a "b" = c',
    pid: 1234,
  });
  const whole = parseLine(line.trimEnd())!;
  for (let length = 0; length < line.length - 1; length++) {
    const torn = parseLine(line.slice(0, length));
    if (torn === undefined) continue;
    const pairs = [...torn.fields];
    for (const [key, value] of pairs.slice(0, -1)) assert.equal(value, whole.fields.get(key));
    assert.ok(pairs.length <= whole.fields.size);
  }
});

Deno.test("parseLine() refuses what is not ours", () => {
  for (
    const text of [
      "",
      "RUNNER_VITALS",
      "2026-11-21T00:06:54Z RUNNER_VITALS vm.mem.total.kb=24684096 load=2.73,1.63,0.84",
      "RUNNER_VITALS kind=sample",
      "RUNNER_VITALS kind=other ts=2026-11-21T09:00:00.123Z mono_ms=1",
      "RUNNER_VITALS kind=sample ts=yesterday mono_ms=1",
      "RUNNER_VITALS kind=sample ts=2026-11-21T09:00:00.123Z mono_ms=soon",
      "RUNNER_VITALS kind=sample ts=2026-11-21T09:00:00.123Z mono_ms=1 a=b=c",
      'RUNNER_VITALS kind=sample ts=2026-11-21T09:00:00.123Z mono_ms=1 a="open',
      'RUNNER_VITALS kind=sample ts=2026-11-21T09:00:00.123Z mono_ms=1 a="\\x"',
      "RUNNER_VITALS kind=sample ts=2026-11-21T09:00:00.123Z mono_ms=1  a=1",
      "two words kind=sample ts=2026-11-21T09:00:00.123Z mono_ms=1",
      "RUNNER_VITALS kind=sample ts=2026-11-21T09:00:00.123Z mono_ms=1 Dots.in=1",
    ]
  ) assert.equal(parseLine(text), undefined, text);
});

Deno.test("sampleIn() and numberIn() take numbers, max, and known keys", () => {
  const line =
    "T kind=sample ts=2026-11-21T09:00:00.123Z mono_ms=1 mem_max=max mem_current=12 load1=0.5 oom= " +
    "fds=x other=3 seq=9";
  const { fields } = parseLine(line)!;
  assert.deepEqual(
    sampleIn(fields),
    new Map<string, number | "max">([["mem_max", "max"], ["mem_current", 12], ["load1", 0.5], ["seq", 9]]),
  );
  assert.equal(numberIn(fields, "other"), 3);
  for (const key of ["mem_max", "oom", "fds", "none"]) assert.equal(numberIn(fields, key), undefined, key);
});

Deno.test("parseTag() takes one word that is no pair", () => {
  for (const tag of [DEFAULT_TAG, "a", "Davit.vitals-1:x"]) assert.equal(parseTag(tag), tag);
  for (const tag of ["", "two words", "a=b", "1st", 'q"', "x".repeat(65), "é", "a\n"]) {
    assert.throws(() => parseTag(tag), SyntaxError, tag);
  }
});
