import assert from "node:assert/strict";
import fc from "fast-check";
import { WrapFilter } from "./wrap_filter.ts";

const GUESS =
  "[OSDC] Step script exited with code 1. This is a script/workflow error, not an infrastructure issue.";
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (pieces: Uint8Array[]) => pieces.map((piece) => new TextDecoder().decode(piece)).join("");

/** The whole output for `input` in pieces that end at `cuts`. */
function passed(input: string, cuts: readonly number[]): { out: string; filter: WrapFilter } {
  const filter = new WrapFilter();
  const ends = [...new Set([...cuts.map((cut) => cut % (input.length + 1)), input.length])].toSorted((a, b) =>
    a - b
  );
  let [out, from] = ["", 0];
  for (const end of ends) {
    out += text(filter.push(bytes(input.slice(from, end))));
    from = end;
  }
  return { out: out + text(filter.finish()), filter };
}

Deno.test("WrapFilter takes out the guess and nothing else, wherever pieces are cut", () => {
  const part = fc.constantFrom(
    ...[
      "a\n",
      "\n",
      "[",
      "#",
      ":",
      "[OSDC] Step ",
      "[OSDC] Validation failed\n",
      "::error::no\n",
      "x",
      " \r\n",
    ],
    `${GUESS}\n`,
    `##[error]${GUESS}\r\n`,
    "y".repeat(1_200),
  );
  const cuts = fc.array(fc.nat());
  fc.assert(fc.property(fc.array(part), cuts, (parts, at) => {
    const input = parts.join("");
    const lines = input.match(/[^\n]*\n|[^\n]+$/g) ?? [];
    const isGuess = (line: string) => /^(##\[error\])?\[OSDC\] Step script exited with code 1/.test(line);
    // A line that only begins at its end of the stream with a guess's words is one, too: that is what it is.
    const expected = lines.filter((line) => !isGuess(line) || line.length > 1_024).join("");
    assert.equal(passed(input, at).out, expected);
  }));
});

Deno.test("WrapFilter holds back no more of a line than may become a guess", () => {
  const filter = new WrapFilter();
  assert.equal(text(filter.push(bytes("progress 10%"))), "progress 10%");
  assert.equal(text(filter.push(bytes(" 20%\n[OSD"))), " 20%\n");
  assert.equal(text(filter.push(bytes("A] x"))), "[OSDA] x");
  assert.equal(text(filter.push(bytes("y\n[OSDC] Step scr"))), "y\n");
  assert.equal(text(filter.finish()), "[OSDC] Step scr");
});

Deno.test("WrapFilter keeps what the hook says in its own voice", () => {
  const { filter } = passed(
    "RPC heartbeat failed for 60s\n::error::Error: RPC heartbeat failed for 60s — infrastructure failure\n" +
      `${GUESS}\n##[error]The process '/usr/bin/docker' failed with exit code 3\n`,
    [],
  );
  assert.deepEqual(filter.guesses, [GUESS]);
  assert.deepEqual([...filter.matches.values()], [
    {
      fault: "infra",
      title: "Hook server not reachable",
      line: "RPC heartbeat failed for 60s — infrastructure failure",
    },
    {
      fault: "script",
      title: "Script failed",
      line: "The process '/usr/bin/docker' failed with exit code 3",
    },
  ]);
});
