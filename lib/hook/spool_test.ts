import assert from "node:assert/strict";
import "../../testdata/open_libc.ts";
import { tempDir } from "../../testdata/temp.ts";
import { silent } from "../host/log.ts";
import { type Frame, FrameDecoder } from "./frames.ts";
import { FRAME, FRAME_HEADER_BYTES } from "./protocol.ts";
import { type NamelessFile, RpcDir } from "./rpc_dir.ts";
import { Spool, type SpoolOptions } from "./spool.ts";

async function withSpool(
  options: Partial<SpoolOptions>,
  work: (spool: Spool) => Promise<void>,
): Promise<void> {
  await using dir = await tempDir("spool");
  const rpcDir = new RpcDir({ candidates: [dir.join("rpc")], log: silent });
  const opened: NamelessFile[] = [];
  const spool = new Spool({
    maxBytes: 1 << 30,
    openFile() {
      const file = rpcDir.openFile()!;
      opened.push(file);
      return file;
    },
    patienceMs: 0,
    log: silent,
    ...options,
  });
  await work(spool);
  if (!spool.isClosed) await spool.close("{}");
  spool.release();
}

function frameOf(text: string): Uint8Array {
  return new TextEncoder().encode("\0".repeat(FRAME_HEADER_BYTES) + text);
}

function readAll(spool: Spool, from = 0): Frame[] {
  const reader = spool.openAfter(from);
  assert.ok(reader, `frames after ${from} are there`);
  const decoder = new FrameDecoder();
  const piece = new Uint8Array(1000);
  const frames: Frame[] = [];
  for (;;) {
    const got = reader.read(piece);
    if (typeof got === "string" || got === 0) return frames;
    for (const frame of decoder.push(piece.slice(0, got))) {
      frames.push({ ...frame, payload: frame.payload.slice() });
    }
  }
}

const textOf = (frame: Frame | undefined) => new TextDecoder().decode(frame?.payload);
const KILO = "x".repeat(1000);

Deno.test("Spool gives frames in order with numbers from 1, from any number on", async () => {
  await withSpool({}, async (spool) => {
    for (let count = 1; count <= 500; count++) {
      await spool.append(count % 3 === 0 ? FRAME.stderr : FRAME.stdout, frameOf(`${count} ${KILO}`));
    }
    const all = readAll(spool);
    assert.deepEqual(all.map(({ seq }) => seq), Array.from({ length: 500 }, (_, index) => index + 1));
    assert.ok(all.every((frame) => textOf(frame) === `${frame.seq} ${KILO}`));
    assert.deepEqual(all.slice(0, 3).map(({ kind }) => kind), [1, 1, 2]);
    for (const from of [1, 63, 64, 65, 321, 499, 500]) assert.equal(readAll(spool, from).length, 500 - from);
    assert.deepEqual([spool.lastSeq, spool.firstSeq], [500, 1]);
  });
});

Deno.test("Spool tells a waiting reader of each change", async () => {
  await withSpool({}, async (spool) => {
    const reader = spool.openAfter(0)!;
    const piece = new Uint8Array(100);
    assert.equal(reader.read(piece), 0);
    const { changed } = spool;
    void spool.append(FRAME.stdout, frameOf("a"));
    await changed;
    assert.equal(reader.read(piece), FRAME_HEADER_BYTES + 1);
    await spool.close("{}");
    assert.equal(reader.read(piece), FRAME_HEADER_BYTES + 2);
    assert.equal(reader.read(piece), "end");
  });
});

Deno.test("Spool forgets what was acknowledged, all but the end", async () => {
  await withSpool({ maxBytes: 400_000 }, async (spool) => {
    for (let count = 0; count < 300; count++) await spool.append(FRAME.stdout, frameOf(KILO));
    const before = spool.bytes;
    spool.acknowledge(250);
    assert.ok(spool.bytes < before / 2, `${spool.bytes} of ${before}`);
    assert.ok(spool.firstSeq > 100 && spool.firstSeq <= 251);
    assert.equal(spool.openAfter(10), undefined);
    assert.equal(readAll(spool, 250).length, 50);
    await spool.close('{"code":3}');
    spool.acknowledge(301);
    assert.deepEqual([spool.lastSeq, spool.ackedSeq, spool.droppedBytes], [301, 300, 0]);
    const [end, ...more] = readAll(spool, 300);
    assert.deepEqual([end!.kind, end!.seq, textOf(end), more.length], [FRAME.end, 301, '{"code":3}', 0]);
    assert.deepEqual(readAll(spool, 301), []);
  });
});

Deno.test("Spool drops the oldest when it is full and nobody takes anything, and counts it", async () => {
  await withSpool({ maxBytes: 100_000 }, async (spool) => {
    for (let count = 0; count < 1000; count++) await spool.append(FRAME.stdout, frameOf(KILO));
    assert.ok(spool.bytes <= 100_000 + 2000, `${spool.bytes}`);
    const kept = readAll(spool, spool.firstSeq - 1);
    assert.equal(spool.droppedBytes, (1000 - kept.length) * 1000);
    assert.equal(kept.at(-1)!.seq, 1000);
    assert.equal(spool.stdoutBytes, 1_000_000);
  });
});

Deno.test("Spool does not count as dropped what was acknowledged", async () => {
  await withSpool({ maxBytes: 100_000 }, async (spool) => {
    for (let count = 1; count <= 1000; count++) {
      await spool.append(FRAME.stdout, frameOf(KILO));
      if (count % 10 === 0) spool.acknowledge(count);
    }
    assert.equal(spool.droppedBytes, 0);
  });
});

Deno.test("Spool waits for its client before it drops anything", async () => {
  await withSpool({ maxBytes: 100_000, patienceMs: 60_000 }, async (spool) => {
    let appended = 0;
    const writing = (async () => {
      for (; appended < 200; appended++) await spool.append(FRAME.stdout, frameOf(KILO));
    })();
    const settled = async () => {
      for (let before = -1; before !== appended;) {
        before = appended;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    await settled();
    assert.ok(appended > 50 && appended < 110, `${appended}`);
    assert.equal(spool.droppedBytes, 0);
    while (appended < 200) {
      spool.acknowledge(spool.lastSeq);
      await settled();
    }
    await writing;
    assert.equal(spool.droppedBytes, 0);
  });
});

Deno.test("Spool ends a reader whose frames were dropped", async () => {
  await withSpool({ maxBytes: 100_000 }, async (spool) => {
    for (let count = 0; count < 50; count++) await spool.append(FRAME.stdout, frameOf(KILO));
    const reader = spool.openAfter(0)!;
    const piece = new Uint8Array(5000);
    assert.equal(reader.read(piece), 5000);
    for (let count = 0; count < 200; count++) await spool.append(FRAME.stdout, frameOf(KILO));
    assert.equal(reader.read(piece), "gone");
  });
});

Deno.test("Spool goes on in another file when one fails, and in memory when all do", async (t) => {
  const failing = (after: number) => {
    let left = after;
    const reader = Deno.openSync("/dev/null");
    const writer = Deno.openSync("/dev/null", { write: true });
    writer.writeSync = (bytes) => {
      if (left-- > 0) return bytes.length;
      throw new Error("full (os error 28)");
    };
    return { reader, writer, directory: "/" };
  };
  await t.step("every file fails at once", async () => {
    let files = 0;
    await withSpool({ openFile: () => (files++, failing(0)) }, async (spool) => {
      for (let count = 1; count <= 20; count++) await spool.append(FRAME.stdout, frameOf(`${count}`));
      assert.deepEqual(readAll(spool).map(textOf), Array.from({ length: 20 }, (_, index) => `${index + 1}`));
      assert.ok(files < 10, `${files} files`);
    });
  });
  await t.step("there is no file: memory has a bound of its own", async () => {
    await withSpool({ openFile: () => undefined }, async (spool) => {
      const large = new Uint8Array(FRAME_HEADER_BYTES + 1_000_000);
      for (let count = 0; count < 40; count++) await spool.append(FRAME.stdout, large);
      assert.ok(spool.bytes <= 17 << 20, `${spool.bytes}`);
      assert.ok(spool.droppedBytes >= 20_000_000);
    });
  });
});

Deno.test("Spool.readStream() gives one stream by byte offset", async () => {
  await withSpool({ maxBytes: 4_000_000 }, async (spool) => {
    let [out, err] = ["", ""];
    for (let count = 0; count < 3000; count++) {
      const text = `${count}-${"y".repeat(count % 700)}|`;
      if (count % 4 === 3) err += text;
      else out += text;
      await spool.append(count % 4 === 3 ? FRAME.stderr : FRAME.stdout, frameOf(text));
    }
    const read = (kind: 1 | 2, offset: number, limit: number) => {
      const { bytes, more } = spool.readStream(kind, offset, limit);
      return [new TextDecoder().decode(bytes), more];
    };
    assert.ok(out.length > 700_000);
    for (const offset of [0, 1, 5, 65_536, 300_001, out.length - 1]) {
      assert.deepEqual(read(1, offset, 10_000), [
        out.slice(offset, offset + 10_000),
        offset + 10_000 < out.length,
      ]);
    }
    assert.deepEqual(read(1, 0, 1 << 30), [out, false]);
    assert.deepEqual(read(2, 0, 1 << 30), [err, false]);
    assert.deepEqual(read(2, 77_777, 3), [err.slice(77_777, 77_780), true]);
    assert.deepEqual(read(1, out.length, 10), ["", false]);
    assert.deepEqual(read(1, out.length + 99, 10), ["", false]);
  });
});
