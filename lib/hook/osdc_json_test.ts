import assert from "node:assert/strict";
import fc from "fast-check";
import { parseFlatObject, quoteFlat } from "./osdc_json.ts";

Deno.test("parseFlatObject() takes what the fork's server takes", async (t) => {
  for (
    const [body, expected] of [
      ['{"id":"a","path":"/x"}', { id: "a", path: "/x" }],
      [' \n\u0085{ "id" : "a" , "path":"b" }\t', { id: "a", path: "b" }],
      ["{}", {}],
      ["{ , ,}", {}],
      ['{"a":"1" "b":"2"}', { a: "1", b: "2" }],
      ['{,,"a":"1",,}', { a: "1" }],
      ['{"a":"1","a":"2"}', { a: "2" }],
      ['{"a":"x\ny\u0001"}', { a: "x\ny\u0001" }],
      [String.raw`{"a":"\"\\\/\n\r\t\u00e9"}`, { a: '"\\/\n\r\té' }],
      ['{"a":"😀"}', { a: "😀" }],
      ['{"a":"}"}', { a: "}" }],
    ] as const
  ) {
    await t.step(JSON.stringify(body), () => {
      assert.deepEqual(Object.fromEntries(parseFlatObject(body) ?? [["refused", ""]]), expected);
    });
  }
});

Deno.test("parseFlatObject() refuses what the fork's server refuses", async (t) => {
  for (
    const body of [
      "",
      "{",
      "}",
      "not json at all",
      "[]",
      '{"a":1}',
      '{"a":null}',
      '{"a":{"b":"c"}}',
      '{"a"}',
      '{"a":}',
      "{a:1}",
      '{"a":"b}',
      '{"a":"b"',
      '{"a":"b"}x',
      "\ufeff{}",
      String.raw`{"a":"\b"}`,
      String.raw`{"a":"\ud83d\ude00"}`,
      String.raw`{"a":"\u12g4"}`,
      String.raw`{"a":"\u12"}`,
    ]
  ) await t.step(JSON.stringify(body), () => assert.equal(parseFlatObject(body), undefined));
});

Deno.test("quoteFlat() is JSON, and parseFlatObject() reads it back", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "binary" }), (key, value) => {
    const text = `{${quoteFlat(key)}:${quoteFlat(value)}}`;
    assert.deepEqual(JSON.parse(text), Object.fromEntries([[key, value]]));
    assert.deepEqual([...parseFlatObject(text) ?? []], [[key, value]]);
  }));
});
