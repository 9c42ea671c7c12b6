/**
 * Tries the lock of its argument once and prints what came of it: a second process for lib/host/flock_test.ts.
 *
 * @module
 */
import { tryLock } from "../lib/host/flock.ts";

const taken = await tryLock(Deno.args[0]!);
await Deno.stdout.write(new TextEncoder().encode(JSON.stringify({
  kind: taken.kind,
  ...taken.kind === "refused" && { errno: taken.errno },
})));
