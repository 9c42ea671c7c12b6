/** Prints which directories are usable for locks: the path, or the code of the refusal. */
import { lockDirectory } from "../lib/container/agent/lock_directory.ts";
import { Failure } from "../lib/failure.ts";

for (const directory of Deno.args) {
  try {
    Deno.stdout.writeSync(new TextEncoder().encode(`${await lockDirectory({ directory })}\n`));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    Deno.stdout.writeSync(new TextEncoder().encode(`${error.code}\n`));
  }
}
