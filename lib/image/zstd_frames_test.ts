import assert from "node:assert/strict";
import { joined, latin1 } from "../../testdata/make_tar.ts";
import { ZstdFrameSplitter } from "./zstd_frames.ts";

/** The frames found in `stream` when it comes in chunks of `chunkBytes`. */
function framesOf(stream: Uint8Array, chunkBytes: number): Uint8Array[] {
  const splitter = new ZstdFrameSplitter();
  const frames: Uint8Array[] = [];
  let parts: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += chunkBytes) {
    for (const { bytes, endsFrame } of splitter.push(stream.subarray(at, at + chunkBytes))) {
      parts.push(bytes);
      if (!endsFrame) continue;
      frames.push(joined(parts));
      parts = [];
    }
  }
  splitter.end();
  assert.equal(parts.length, 0);
  return frames;
}

/** One frame by the zstd program. (Deno 2.9.6's zstdCompressSync() puts an empty second one after noise.) */
async function frameOf(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const child = new Deno.Command("zstd", { args: ["-qc"], stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const [{ stdout }] = await Promise.all([child.output(), writer.write(data).then(() => writer.close())]);
  return stdout;
}

const FRAMES = await Promise.all([
  latin1(""),
  latin1("x"),
  latin1("hello ".repeat(100)),
  crypto.getRandomValues(new Uint8Array(40_000)),
  new Uint8Array(300_000),
].map(frameOf));
const SKIPPED = joined([Uint8Array.of(0x57, 0x2a, 0x4d, 0x18, 3, 0, 0, 0), latin1("abc")]);
const EMPTY_SKIPPED = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0);

Deno.test("ZstdFrameSplitter finds frames however the bytes come in, without the skippable ones", async (t) => {
  const stream = joined([SKIPPED, ...FRAMES.flatMap((frame) => [frame, EMPTY_SKIPPED, SKIPPED])]);
  for (const chunkBytes of [1, 2, 3, 5, 11, 1000, stream.length]) {
    await t.step(`chunks of ${chunkBytes}`, () => assert.deepEqual(framesOf(stream, chunkBytes), FRAMES));
  }
});

Deno.test("ZstdFrameSplitter notices every cut that is not between two frames", () => {
  const stream = joined([SKIPPED, FRAMES[2]!, FRAMES[1]!]);
  const between = new Set([0, SKIPPED.length, SKIPPED.length + FRAMES[2]!.length, stream.length]);
  for (let length = 0; length <= stream.length; length++) {
    const splitter = new ZstdFrameSplitter();
    for (const _ of splitter.push(stream.subarray(0, length)));
    if (between.has(length)) splitter.end();
    else assert.throws(() => splitter.end(), SyntaxError, `cut at ${length}`);
  }
});

Deno.test("ZstdFrameSplitter refuses garbage between frames", () => {
  assert.throws(() => framesOf(joined([FRAMES[1]!, latin1("garbage")]), 100), SyntaxError);
});
