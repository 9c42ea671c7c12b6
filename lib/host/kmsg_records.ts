/**
 * The kernel log as it stands, read once from its beginning.
 *
 * @module
 */
import { decodeKmsg, type KmsgRecord, parseKmsgRecord, splitKmsg } from "./kmsg.ts";
import type { KmsgDevice } from "./kmsg_device.ts";

/** The kernel's buffer holds fewer; a file that never ends is none of the kernel's. */
const READS_LIMIT = 200_000;
const BUFFER_BYTES = 65_536;

/** All records that are there now, oldest first. What is overwritten meanwhile is passed over. */
export function* kmsgRecords(device: KmsgDevice): Generator<KmsgRecord> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  for (let reads = 0; reads < READS_LIMIT; reads++) {
    const got = device.read(buffer);
    if (got === "EPIPE" || got === "EINTR" || got === "EINVAL") continue; // overwritten meanwhile: go on behind it
    if (typeof got === "string" || got === 0) return;
    for (const text of splitKmsg(decodeKmsg(buffer.subarray(0, got)))) {
      const record = parseKmsgRecord(text);
      if (record !== undefined) yield record;
    }
  }
}
