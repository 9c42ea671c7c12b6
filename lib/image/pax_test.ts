import assert from "node:assert/strict";
import fc from "fast-check";
import { bytesOf } from "./byte_strings.ts";
import { formatPax, parsePax } from "./pax.ts";

const binary = (constraints: fc.ArrayConstraints) =>
  fc.array(fc.integer({ min: 0, max: 255 }), constraints).map((codes) => String.fromCharCode(...codes));

Deno.test("parsePax() reads back what formatPax() writes", () => {
  const key = binary({ minLength: 1, maxLength: 120 }).map((text) => text.replace(/[= ]/g, "k"));
  const records = fc.array(fc.tuple(key, binary({ maxLength: 1100 })), { maxLength: 5 });
  fc.assert(fc.property(records, (list) => assert.deepEqual(parsePax(formatPax(list)), list)));
});

Deno.test("formatPax() gets lengths right where they grow by their own digit", () => {
  for (let size = 80; size < 1020; size++) {
    const bytes = formatPax([["k", "v".repeat(size)]]);
    assert.equal(parseInt(String.fromCharCode(...bytes.subarray(0, 5))), bytes.length);
  }
});

Deno.test("parsePax() returns records or throws SyntaxError, whatever it is given", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 60 }),
        binary({ maxLength: 60 }).map((text) => bytesOf(`${text.length + 3} ${text}`)),
      ),
      (bytes) => {
        try {
          parsePax(bytes);
        } catch (error) {
          assert.ok(error instanceof SyntaxError);
        }
      },
    ),
  );
});
