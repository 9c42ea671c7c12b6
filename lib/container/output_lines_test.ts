import assert from "node:assert/strict";
import fc from "fast-check";
import { OutputLines } from "./output_lines.ts";

function recorded() {
  const texts = ["", "", ""];
  const sink = (channel: number, bytes: Uint8Array) => {
    texts[channel] += new TextDecoder().decode(bytes);
    return Promise.resolve();
  };
  return { texts, sink };
}
const bytesOf = (text: string) => new TextEncoder().encode(text);

Deno.test("OutputLines: one host's bytes stay as they are, also without newlines", async () => {
  const seen: Uint8Array[] = [];
  const lines = new OutputLines(["a"], (_, bytes) => Promise.resolve(void seen.push(bytes)));
  await lines.write("a", 1, Uint8Array.of(0, 255, 10, 7));
  await lines.end("a");
  assert.deepEqual(seen, [Uint8Array.of(0, 255, 10, 7)]);
});

Deno.test("OutputLines: lines of several hosts have their names and never mix, however they are cut", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(
      fc.tuple(fc.constantFrom("a", "bb"), fc.constantFrom(1, 2), fc.stringMatching(/^[xy\n]{0,5}$/)),
      {
        maxLength: 30,
      },
    ),
    async (pieces) => {
      const { texts, sink } = recorded();
      const lines = new OutputLines(["a", "bb"], sink);
      for (const [host, channel, text] of pieces) await lines.write(host, channel, bytesOf(text));
      await lines.end("a");
      await lines.end("bb");
      for (const channel of [1, 2]) {
        for (const host of ["a", "bb"]) {
          const said = pieces.filter(([name, number]) => name === host && number === channel)
            .map(([, , text]) => text).join("");
          const shown = texts[channel]!.split("\n").slice(0, -1).filter((line) => line.startsWith(`${host} `))
            .map((line) => `${line.slice(4)}\n`).join("");
          assert.equal(shown, said === "" || said.endsWith("\n") ? said : `${said}\n`);
        }
      }
    },
  ));
});

Deno.test("OutputLines: a line without end is handed on in pieces", async () => {
  const { texts, sink } = recorded();
  const lines = new OutputLines(["a", "b"], sink);
  for (let i = 0; i < 20; i++) await lines.write("a", 1, new Uint8Array(10_000).fill(120));
  assert.ok(texts[1]!.length >= 130_000, `${texts[1]!.length}`);
});
