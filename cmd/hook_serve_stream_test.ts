import assert from "node:assert/strict";
import { jobServer, put, readFrames, startJob } from "../testdata/hook_jobs.ts";
import { tempDir } from "../testdata/temp.ts";
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

Deno.test("hook serve: of thirty clients at once one has the server, and thirty readers get all of its output", async () => {
  await using server = await jobServer();
  await using dir = await tempDir("thirty");
  const script = 'i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i+1)); done; ' +
    'while [ ! -e "$0/go" ]; do sleep 0.05; done; exit 5';
  const ids = Array.from({ length: 30 }, (_, index) => `c${index}`);
  const answers = await Promise.all(
    ids.map((id) => put(server.client, { argv: ["sh", "-c", script, dir.path] }, id)),
  );
  assert.deepEqual(answers.map(({ status }) => status).toSorted(), [201, ...Array(29).fill(409)]);
  const winner = ids[answers.findIndex(({ status }) => status === 201)]!;
  for (const { json } of answers) {
    const { id, running } = json as { id?: string; running?: { id: string } };
    assert.equal(id ?? running?.id, winner);
  }
  const readers = ids.map(() => readFrames(server.client, winner));
  await Deno.writeTextFile(dir.join("go"), "");
  const expected = Array.from({ length: 3000 }, (_, index) => `line ${index}\n`).join("");
  for (const frames of await Promise.all(readers)) {
    const output = frames.filter(({ kind }) => kind === FRAME.stdout).map(({ payload }) => payload.slice());
    assert.equal(await new Blob(output).text(), expected);
    assert.equal(frames.at(-1)!.kind, FRAME.end);
  }
});
