import assert from "node:assert/strict";
import fc from "fast-check";
import { KeptLines } from "./kept_lines.ts";

Deno.test("KeptLines gives the newest lines as they were, oldest first", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: "grapheme", maxLength: 400 })),
      fc.integer({ min: 1, max: 9 }),
      (lines, limit) => {
        const kept = new KeptLines(limit);
        for (const line of lines) kept.push(line);
        assert.deepEqual([...kept], lines.slice(-limit));
      },
    ),
  );
});
