/**
 * A job's output by byte offsets, as the OSDC fork's hook reads it. What davit has to say to the step comes at the end
 * of its stderr, since offsets allow no other place.
 *
 * @module
 */
import type { Job } from "./job.ts";
import type { OsdcJob } from "./osdc.ts";
import { FRAME, type Result } from "./protocol.ts";
import { StreamAcks } from "./stream_acks.ts";

const LINE_FEED = 10;

/** The job as the OSDC face sees it. */
export function osdcJobOf(job: Job): OsdcJob {
  const acks = new StreamAcks(job.spool);
  let last: Uint8Array | undefined;
  void job.ended.then((result) => last = lastWords(job, result));
  return {
    ended: job.ended,
    signal: (name) => job.kill(name),
    read(stream, offset, limit) {
      acks.delivered(stream, offset);
      const found = job.spool.readStream(FRAME[stream], offset, limit);
      if (stream === "stdout" || found.bytes.length > 0 || last === undefined) return Promise.resolve(found);
      const from = Math.max(0, offset - job.spool.stderrBytes);
      const bytes = last.subarray(from, from + limit);
      return Promise.resolve({ bytes, more: from + bytes.length < last.length });
    },
    release: () => job.spool.release(),
  };
}

function lastWords({ spool }: Job, { notices }: Result): Uint8Array {
  const end = spool.readStream(FRAME.stderr, spool.stderrBytes - 1, 1).bytes;
  const isMidLine = end.length > 0 && end[0] !== LINE_FEED;
  const lines = notices.map((text) => `davit: ${text}\n`).join("");
  return new TextEncoder().encode(lines === "" ? "" : `${isMidLine ? "\n" : ""}${lines}`);
}
