/**
 * Memory does not grow with a log. 90 MB is what reading 512 MB of mixed lines took when this was written.
 *
 * @module
 */
import assert from "node:assert/strict";
import { reportOfStream } from "../../../testdata/report_of_stream.ts";
import { VitalsLog } from "../../../testdata/vitals_log.ts";

const PEAK_LIMIT_BYTES = 400e6;

Deno.test("vitals report reads a document of one line and 150 MB in bounded memory", async () => {
  const log = new VitalsLog().start().samples(700);
  const values = log.lines.map((line, index) =>
    JSON.stringify([`${Date.UTC(2026, 10, 21, 9) + index * 3000}000000`, line])
  );
  const { log: report, peakBytes } = await reportOfStream({
    head: `{"data":{"result":[{"stream":{"pod":"runner-a"},"values":[`,
    block: `${values.join(",")},`,
    tail: `${values[0]}]}]}}`,
    bytes: 150e6,
  });
  assert.equal(report.log.endsWith("(runner-a)"), true);
  assert.equal(report.samples, 700);
  assert.ok(peakBytes > 0 && peakBytes < PEAK_LIMIT_BYTES, `${peakBytes} bytes`);
});

Deno.test("vitals report reads a line of 100 MB without an end, and what is glued to it", async () => {
  const { lines } = new VitalsLog().start().samples(5);
  const { log: report, peakBytes } = await reportOfStream({
    head: `${lines.slice(0, 3).join("\n")}\n`,
    block: "#".repeat(1 << 20),
    tail: `${lines[3]}\n${lines[4]}\n${lines[5]}\n`,
    bytes: 100e6,
  });
  assert.equal(report.samples, 5);
  assert.ok(peakBytes > 0 && peakBytes < PEAK_LIMIT_BYTES, `${peakBytes} bytes`);
});
