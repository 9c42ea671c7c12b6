/**
 * Compares a value with a committed file of JSON. With DAVIT_UPDATE_SNAPSHOTS=1 in the environment the file is written
 * instead: look at the difference before committing it.
 *
 * @module
 */
import assert from "node:assert/strict";

/** `path` is relative to testdata. */
export async function matchesSnapshot(value: unknown, path: string): Promise<void> {
  const file = new URL(path, import.meta.url);
  const text = `${JSON.stringify(value, null, 2)}\n`;
  if (Deno.env.get("DAVIT_UPDATE_SNAPSHOTS") === "1") return await Deno.writeTextFile(file, text);
  assert.deepEqual(JSON.parse(text), JSON.parse(await Deno.readTextFile(file)));
}
