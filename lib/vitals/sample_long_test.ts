import assert from "node:assert/strict";
import { run } from "../../testdata/run.ts";

const MIB = 2 ** 20;
/** Measured: 17.5 MiB after 20,000 samples, 21.7 after 100,000 and after 200,000. */
const LIMIT_BYTES = 32 * MIB;
const GROWTH_BYTES = 10 * MIB;

Deno.test("100,000 samples and their lines do not make the process grow", async () => {
  const url = (name: string) => new URL(name, import.meta.url).href;
  const script = `
    const { Sampler } = await import("${url("./sample.ts")}");
    const { formatSample } = await import("${url("./line.ts")}");
    const sampler = new Sampler({ workdir: "/" });
    const anonymous = () => 1024 * /RssAnon:\\s+(\\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))[1];
    let bytes = 0;
    const sizes = [];
    for (let count = 1; count <= 100_000; count++) {
      bytes += formatSample("RUNNER_VITALS", { wallMs: Date.now(), monoMs: count }, sampler.read()).length;
      if (count % 1_000 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      if (count % 20_000 === 0) sizes.push(anonymous());
    }
    console.log(JSON.stringify({ sizes, bytes }));`;
  const { stdout, stderr } = await run([Deno.execPath(), "eval", script], { timeoutMs: 300_000 });
  assert.notEqual(stdout, "", stderr);
  const { sizes, bytes } = JSON.parse(stdout) as { sizes: number[]; bytes: number };
  assert.ok(bytes > 100_000 * 200, `${bytes} bytes in all lines`);
  const shown = sizes.map((size) => (size / MIB).toFixed(1)).join(", ");
  assert.ok(sizes.at(-1)! < LIMIT_BYTES, `${shown} MiB`);
  assert.ok(sizes.at(-1)! - sizes[0]! < GROWTH_BYTES, `${shown} MiB`);
});
