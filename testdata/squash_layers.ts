/**
 * Run by tests as a process of its own: OUTPUT LAYER… makes a squashfs image and prints how it ended.
 *
 * @module
 */
import { Failure } from "../lib/failure.ts";
import { build, plan } from "./compare_umoci.ts";

const [output = "", ...paths] = Deno.args;
try {
  await build(await plan(paths.map((path, index) => ({ digest: `sha256:layer${index}`, path }))), output);
  say("done");
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  say(`${error.code}: ${error.message}`);
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
