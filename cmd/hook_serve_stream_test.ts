import assert from "node:assert/strict";
import { jobServer, startJob } from "../testdata/hook_jobs.ts";
import { FrameDecoder } from "../lib/hook/frames.ts";
import { FRAME } from "../lib/hook/protocol.ts";

const LINE_BYTES = 16;
const LINES = 12_000_000;

/** Every line of the output says which it is. */
const COUNT = `awk 'BEGIN { for (i = 0; i < ${LINES}; i++) printf "%015d\\n", i }'`;

Deno.test("hook serve: output is whole for a reader that stalls, and the server stays small", async () => {
  await using server = await jobServer();
  const { id } = await startJob(server.client, { argv: ["sh", "-c", COUNT] });
  const response = await server.client.open("GET", `/v1/jobs/${id}/stream?from=0`);
  const decoder = new FrameDecoder();
  const text = new TextDecoder();
  let [bytes, pieces, peakMiB, isEnded] = [0, 0, 0, false];
  for await (const piece of response.body!) {
    // Both queues on the way out are full then, and have to be emptied piece by piece.
    if (++pieces % 400 === 0) await new Promise((resolve) => setTimeout(resolve, 30));
    for (const { kind, payload, seq } of decoder.push(piece)) {
      if (kind === FRAME.end) isEnded = true;
      if (kind !== FRAME.stdout) continue;
      // Where a line begins is known: the first whole one of each frame tells whether the frame is the right one.
      const skipped = (LINE_BYTES - bytes % LINE_BYTES) % LINE_BYTES;
      for (const at of [skipped, payload.length - LINE_BYTES - (bytes + payload.length) % LINE_BYTES]) {
        if (at < 0 || at + LINE_BYTES > payload.length) continue;
        const line = Number(text.decode(payload.subarray(at, at + LINE_BYTES - 1)));
        assert.equal(line, (bytes + at) / LINE_BYTES, `frame ${seq}`);
      }
      bytes += payload.length;
      if (seq % 100 !== 0) continue;
      await server.client.ask("POST", `/v1/jobs/${id}/ack`, { body: { seq } });
      const status = await Deno.readTextFile(`/proc/${server.process.pid}/status`);
      peakMiB = Math.max(peakMiB, Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1]) / 1024);
    }
  }
  assert.ok(isEnded);
  assert.equal(bytes, LINES * LINE_BYTES);
  assert.ok(peakMiB < 120, `${peakMiB} MiB`);
});
