import assert from "node:assert/strict";
import fc from "fast-check";
import { escapeControls, escapeForTerminal, formatLogfmt } from "./logfmt.ts";

/**
 * Reads a line as Go's go-logfmt/logfmt decoder does: a key is a run of characters above space without `=` and `"`;
 * a quoted value has the escapes of a JSON string; an unquoted one ends at white space, and in it `=` and `"` are
 * errors.
 */
function parseLogfmt(line: string): [key: string, value: string][] {
  const pairs: [string, string][] = [];
  // deno-lint-ignore no-control-regex -- what separates pairs
  const PAIR_REGEXP = /([^\u0000-\u0020="\u007f]+)=(?:("(?:[^"\\]|\\.)*")|([^\u0000-\u0020="]*))(?: |$)/uy;
  while (PAIR_REGEXP.lastIndex < line.length) {
    const at = PAIR_REGEXP.lastIndex;
    const match = PAIR_REGEXP.exec(line);
    if (!match) throw new SyntaxError(`no pair at ${at} of ${JSON.stringify(line)}`);
    pairs.push([match[1]!, match[2] === undefined ? match[3]! : JSON.parse(match[2])]);
  }
  return pairs;
}

const HOSTILE = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({
    unit: fc.constantFrom(
      '"',
      "\\",
      "\n",
      "\r",
      "\t",
      "\x1b",
      "\0",
      "=",
      " ",
      "\u0085",
      "\u2028",
      "\u009b",
      "n",
      "u",
    ),
  }),
);
const KEY = fc.stringMatching(/^[a-z][a-z0-9_]{0,12}$/).filter((key) => key !== "__proto__");
// deno-lint-ignore no-control-regex -- what is looked for
const CONTROL_REGEXP = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

Deno.test("a Go reader gets back what formatLogfmt() was given", () => {
  const values = fc.oneof(HOSTILE, fc.double(), fc.boolean(), fc.constant(undefined));
  fc.assert(
    fc.property(fc.dictionary(KEY, values, { noNullPrototype: true }), (fields) => {
      const wanted = Object.entries(fields).filter(([, value]) => value !== undefined)
        .map(([key, value]) => [key, String(value)]);
      assert.deepEqual(parseLogfmt(formatLogfmt(fields)), wanted);
    }),
    { numRuns: 500 },
  );
});

Deno.test("no control character leaves formatLogfmt() or escapeControls() raw", () => {
  fc.assert(
    fc.property(HOSTILE, (text) => {
      assert.doesNotMatch(formatLogfmt({ text }), CONTROL_REGEXP);
      assert.doesNotMatch(escapeControls(text), CONTROL_REGEXP);
    }),
    { numRuns: 500 },
  );
  for (let code = 0; code < 0x3000; code++) {
    assert.doesNotMatch(formatLogfmt({ text: String.fromCharCode(code) }), CONTROL_REGEXP);
  }
});

Deno.test("formatLogfmt() quotes only what needs it", async (t) => {
  for (
    const [value, text] of [
      ["plain/path-1:2,3", "k=plain/path-1:2,3"],
      ["", 'k=""'],
      ["two words", 'k="two words"'],
      ["a=b", 'k="a=b"'],
      ['say "hi"', 'k="say \\"hi\\""'],
      ["back\\slash", 'k="back\\\\slash"'],
      ["line\nbreak", 'k="line\\nbreak"'],
      ["\x1b[31m", 'k="\\u001b[31m"'],
      ["größe", "k=größe"],
      [1.5, "k=1.5"],
      [false, "k=false"],
      [undefined, ""],
    ] as const
  ) await t.step(text, () => assert.equal(formatLogfmt({ k: value }), text));
});

Deno.test("escapeForTerminal() shows what would act on a terminal, and leaves the rest", () => {
  const rows: [string, string][] = [
    ['a "b" \\c é 漢', 'a "b" \\c é 漢'],
    ["\x1b[31mred\x07", "\\u001b[31mred\\u0007"],
    ["a\nb\r\tc", "a\\nb\\r\\tc"],
    ["\u202eexe.txt\u2066\u061c\ufeff\u200b", "\\u202eexe.txt\\u2066\\u061c\\ufeff\\u200b"],
  ];
  for (const [text, shown] of rows) assert.equal(escapeForTerminal(text), shown);
  assert.equal(escapeForTerminal("a\nb\x1b", { isMultiline: true }), "a\nb\\u001b");
  assert.equal(formatLogfmt({ name: "\u202eb" }), 'name="\\u202eb"');
});
