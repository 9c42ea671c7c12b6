import assert from "node:assert/strict";
import fc from "fast-check";
import { needs } from "../../../testdata/needs.ts";
import { run } from "../../../testdata/run.ts";
import { quoteWord } from "./ssh.ts";

/** Words as an operator may give them: anything but control characters. */
const word = fc.string({ unit: "binary", maxLength: 30 }).filter((text) =>
  // deno-lint-ignore no-control-regex
  text.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(text)
);
const tricky = fc.constantFrom(
  "",
  "-n",
  "'",
  "''",
  "$(id)",
  "`id`",
  "a b",
  "\\",
  "!x",
  "~",
  "*",
  "%s",
  "#",
  "ü",
);

Deno.test("quoted words come out of every login shell as they went in", async (t) => {
  for (const shell of ["sh", "bash", "zsh"]) {
    await t.step({
      ...needs({ programs: [shell] }),
      name: shell,
      fn: async () => {
        await fc.assert(
          fc.asyncProperty(
            fc.array(fc.oneof(word, tricky), { minLength: 1, maxLength: 200 }),
            async (words) => {
              const line = `printf '%s\\0' ${words.map(quoteWord).join(" ")}`;
              const { stdout } = await run([shell, "-c", line]);
              assert.deepEqual(stdout.split("\0").slice(0, -1), words);
            },
          ),
          { numRuns: 10 },
        );
      },
    });
  }
});

Deno.test("a word with a control character is refused", () => {
  for (const text of ["a\nb", "\u0000", "\u001b[31m", "\u007f"]) {
    assert.throws(() => quoteWord(text), { exitStatus: 64, code: "bad_agent" });
  }
});
