/**
 * Standard output and standard error as the place where others' output goes, byte for byte and in order.
 *
 * @module
 */
import type { Sink } from "../lib/container/output_lines.ts";
import { Failure, messageOf } from "../lib/failure.ts";

/** Channel 1 is stdout, 2 stderr. A reader that is slow holds the sender back. */
export function processSink(): Sink {
  const writers = [undefined, Deno.stdout.writable.getWriter(), Deno.stderr.writable.getWriter()];
  return async (channel, bytes) => {
    try {
      await writers[channel]?.write(bytes.slice());
    } catch (error) {
      const name = channel === 1 ? "stdout" : "stderr";
      throw new Failure("IOERR", `Cannot write to ${name}: ${messageOf(error)}`, {
        code: "stdout",
        cause: error,
      });
    }
  };
}
