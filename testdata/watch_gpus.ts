/**
 * Watches GPUs in a process of its own, for tests that kill it: prints the line of each GPU. Arguments: a directory
 * that stands for /dev, nvidia-smi, the deadline in milliseconds, and the command line that starts davit.
 *
 * @module
 */
import { GpuWatch } from "../lib/vitals/gpu.ts";

const [dev = "", tool = "", deadline, program = "", ...first] = Deno.args;
const print = (value: unknown) =>
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
new GpuWatch({
  self: { argv: [program, ...first], env: {} },
  intervalMs: 1_000,
  paceMs: 50,
  deadlineMs: Number(deadline),
  dev,
  sys: "/none",
  tool,
  onLine: print,
  onEvent: (event, fields) => print({ event, ...fields }),
}).start();
