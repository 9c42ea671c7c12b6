import assert from "node:assert/strict";
import fc from "fast-check";
import { frame, joined } from "../../testdata/fake_hook_server.ts";
import { FrameDecoder } from "./frames.ts";

Deno.test("FrameDecoder finds the same frames wherever the stream is cut", () => {
  const anyFrame = fc.record({
    kind: fc.integer({ min: 1, max: 5 }),
    seq: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    payload: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(new Uint8Array(100_000).fill(7))),
  });
  fc.assert(
    fc.property(fc.array(anyFrame), fc.array(fc.nat()), (frames, cuts) => {
      const bytes = joined(...frames.map(({ kind, seq, payload }) => frame(kind, seq, payload)));
      const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
      const decoder = new FrameDecoder();
      const found = [];
      let from = 0;
      for (const end of ends) {
        // A buffer of its own that is overwritten afterwards, as the reader's is.
        const piece = bytes.slice(from, end);
        for (const { kind, seq, payload } of decoder.push(piece)) {
          found.push({ kind, seq, payload: payload.slice() });
        }
        piece.fill(0xff);
        from = end;
      }
      assert.deepEqual(
        found,
        frames.map(({ kind, seq, payload }) => ({ kind, seq, payload: Uint8Array.from(payload) })),
      );
    }),
    { numRuns: 50 },
  );
});

Deno.test("FrameDecoder takes a payload of 1 MiB and refuses what is no frame", async (t) => {
  const payload = new Uint8Array(1 << 20).fill(1);
  await t.step("1 MiB", () => {
    assert.equal([...new FrameDecoder().push(frame(1, 1, payload))][0]!.payload.length, 1 << 20);
  });
  const tooLong = frame(1, 1);
  new DataView(tooLong.buffer).setUint32(4, (1 << 20) + 1, true);
  for (
    const [name, bytes] of [
      ["more than 1 MiB", tooLong],
      ["text", new TextEncoder().encode("<html><body>not here</body></html>")],
    ] as const
  ) {
    await t.step(name, () => assert.throws(() => [...new FrameDecoder().push(bytes)], SyntaxError));
  }
});
