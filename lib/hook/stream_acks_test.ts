import assert from "node:assert/strict";
import { silent } from "../host/log.ts";
import { FRAME, FRAME_HEADER_BYTES } from "./protocol.ts";
import { Spool } from "./spool.ts";
import { StreamAcks } from "./stream_acks.ts";

/** A spool in memory with `count` frames of 100 KiB, every third of stderr. */
async function filled(count: number): Promise<Spool> {
  const spool = new Spool({ maxBytes: 1 << 30, openFile: () => undefined, patienceMs: 0, log: silent });
  for (let number = 0; number < count; number++) {
    const kind = number % 3 === 2 ? FRAME.stderr : FRAME.stdout;
    await spool.append(kind, new Uint8Array(FRAME_HEADER_BYTES + 102_400));
  }
  return spool;
}

Deno.test("StreamAcks lets go of what both streams' readers have, once there is much of it", async (t) => {
  await t.step("little is kept whole", async () => {
    const spool = await filled(30);
    new StreamAcks(spool).delivered("stdout", spool.stdoutBytes);
    assert.equal(spool.ackedSeq, 0);
    assert.equal(spool.readStream(FRAME.stdout, 0, 10).bytes.length, 10);
  });
  await t.step("much is kept until both streams were read", async () => {
    const spool = await filled(90);
    const acks = new StreamAcks(spool, { keepBytes: 1 << 20 });
    acks.delivered("stdout", spool.stdoutBytes);
    assert.equal(spool.ackedSeq, 2); // the third frame is of stderr
    acks.delivered("stderr", 102_400 * 10);
    assert.equal(spool.ackedSeq, 32);
    assert.ok(spool.firstSeq > 1);
    acks.delivered("stderr", 0); // a client that asks again does not take anything back
    acks.delivered("stderr", spool.stderrBytes - 1);
    assert.equal(spool.ackedSeq, 89);
    assert.equal(spool.droppedBytes, 0);
  });
});
