import assert from "node:assert/strict";
import { reportOfStream } from "../../../testdata/report_of_stream.ts";
import { VitalsLog } from "../../../testdata/vitals_log.ts";

const GIB = 2 ** 30;
const PEAK_LIMIT_BYTES = 400e6;

Deno.test("vitals report reads a log of 2 GiB in bounded memory", async () => {
  const job = new VitalsLog().start().samples(100);
  const chatter = Array.from(
    { length: 60 },
    (_, rank) => `[rank${rank}] step 1230: loss=2.345 tokens/s=123456`,
  );
  const block = job.lines.flatMap((line) => [...chatter, line]).join("\n");
  const end = new VitalsLog({ startMs: job.nowMs + 3_000 })
    .event("oom", { scope: "own", pid: 3695, comm: "python", oom_memcg: "/c1" });
  const { log, bytes, peakBytes } = await reportOfStream({
    block: `${block}\n`,
    tail: end.text(),
    bytes: 2 * GIB,
  });
  assert.ok(bytes >= 2 * GIB);
  assert.deepEqual([log.class, log.samples], ["oom_own", 100]);
  assert.ok(peakBytes > 0 && peakBytes < PEAK_LIMIT_BYTES, `${peakBytes} bytes`);
});
