import assert from "node:assert/strict";
import fc from "fast-check";
import {
  encodeFrame,
  encodeJson,
  type Frame,
  FrameReader,
  HELLO,
  KIND,
  PAYLOAD_LIMIT_BYTES,
} from "./frames.ts";

function streamOf(...chunks: (Uint8Array | string)[]): ReadableStream<Uint8Array> {
  return ReadableStream.from(
    chunks.map((chunk) => typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk),
  );
}

async function readAll(reader: FrameReader): Promise<Frame[]> {
  const frames: Frame[] = [];
  for (let frame = await reader.readFrame(); frame !== undefined; frame = await reader.readFrame()) {
    frames.push(frame);
  }
  return frames;
}

Deno.test("frames come out as they went in, however the stream is cut", async () => {
  const frame = fc.record({
    kind: fc.integer({ min: KIND.CALL, max: KIND.CANCEL }),
    call: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    payload: fc.uint8Array({ maxLength: 300 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(frame, { maxLength: 8 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
      async (
        frames,
        cuts,
      ) => {
        const bytes = frames.flatMap(({ kind, call, payload }) => [...encodeFrame(kind, call, payload)]);
        const chunks: Uint8Array[] = [];
        for (let at = 0; at < bytes.length;) {
          const length = cuts.next().value!;
          chunks.push(Uint8Array.from(bytes.slice(at, at + length)));
          at += length;
        }
        const read = await readAll(new FrameReader(streamOf(...chunks)));
        assert.deepEqual(
          read.map(({ kind, call, payload }) => [kind, call, [...payload]]),
          frames.map(({ kind, call, payload }) => [kind, call, [...payload]]),
        );
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("what a login shell prints before the hello line is skipped and told", async () => {
  const greeting: string[] = [];
  const reader = new FrameReader(
    streamOf(
      "Last login: today\n* 3 updates",
      ` *\n\ndavit-agent-wire\n${HELLO}`,
      "\n",
      encodeJson(KIND.RESULT, 1, 2),
    ),
  );
  assert.equal(await reader.readHello((line) => greeting.push(line)), true);
  assert.deepEqual(greeting, ["Last login: today", "* 3 updates *", "davit-agent-wire"]);
  assert.equal((await readAll(reader)).length, 1);
});

Deno.test("a stream without a hello ends the waiting, and its last words are told", async () => {
  const greeting: string[] = [];
  const reader = new FrameReader(streamOf("This account is currently\nnot available."));
  assert.equal(await reader.readHello((line) => greeting.push(line)), undefined);
  assert.deepEqual(greeting, ["This account is currently", "not available."]);
});

Deno.test("who is not davit, or another wire, is refused with a word of it", async (t) => {
  const cases: [string, (Uint8Array | string)[], RegExp][] = [
    ["another version", ["davit-agent-wire 2\n"], /speaks version 2 of the wire, this davit 1/],
    [
      "endless lines",
      Array.from({ length: 400 }, () => `${"x".repeat(1000)}\n`),
      /none of them was from davit/,
    ],
    ["an endless line", Array.from({ length: 400 }, () => "x".repeat(1000)), /none of them was from davit/],
  ];
  for (const [name, chunks, message] of cases) {
    await t.step(name, async () => {
      await assert.rejects(new FrameReader(streamOf(...chunks)).readHello(() => {}), {
        code: "protocol",
        exitStatus: 76,
        message,
      });
    });
  }
});

Deno.test("bytes of another between frames are told, escaped", async (t) => {
  const good = encodeJson(KIND.RESULT, 1, "fine");
  const missing = good.slice(0, -1);
  const cases: [string, (Uint8Array | string)[], RegExp][] = [
    ["text", [good, "Broadcast\u001b[31m message\n"], /beginning with "Broadcast\\u001b\[31m message\\n"/],
    ["a line end", [good, "\n", good], /other bytes came/],
    ["inside a frame", [missing, "x", "\n"], /other bytes came between/],
    ["an unknown kind", [encodeFrame(9, 1)], /other bytes came/],
  ];
  for (const [name, chunks, message] of cases) {
    await t.step(name, async () => {
      await assert.rejects(readAll(new FrameReader(streamOf(...chunks))), { code: "protocol", message });
    });
  }
});

Deno.test("a stream that ends in the middle of a frame is just at its end", async () => {
  const frame = encodeJson(KIND.RESULT, 1, "fine");
  for (const length of [1, 8, 9, 12, frame.length - 1]) {
    assert.deepEqual(await readAll(new FrameReader(streamOf(frame.slice(0, length)))), []);
  }
});

Deno.test("more than the limit is not sent", () => {
  assert.throws(() => encodeFrame(KIND.CALL, 1, new Uint8Array(PAYLOAD_LIMIT_BYTES + 1)), {
    code: "too_large",
  });
  assert.equal(
    encodeFrame(KIND.CALL, 1, new Uint8Array(PAYLOAD_LIMIT_BYTES)).length,
    PAYLOAD_LIMIT_BYTES + 10,
  );
});
