/**
 * Writes numbered lines to a ring file for as long as it lives: `write_ring.ts FILE SIZE`. A test kills it.
 *
 * @module
 */
import { RingFile } from "../lib/vitals/ring_file.ts";

const [path = "", size = "0"] = Deno.args;
const ring = await RingFile.open(path, { sizeBytes: Number(size) });
await Deno.stdout.write(new TextEncoder().encode("ready\n"));
for (let number = 0;; number++) {
  const text = String(number).padStart(8, "0");
  await ring.write(`LINE ${text} ${"abcdefghij".repeat(number % 97)} ${text}\n`);
}
