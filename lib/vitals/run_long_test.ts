import assert from "node:assert/strict";
import { probeStart } from "../host/self.ts";
import { run } from "../../testdata/run.ts";

const SAMPLES = 100_000;
const EVERY = 20_000;
const LONG_MS = 1_800_000;
/** Measured: 25 to 31 MB at forty looks; V8 cleans up when 8 MB have come together. */
const LIMIT_KIB = 40 * 1024;
const GROWTH_KIB = 10 * 1024;

Deno.test("a whole probe does not grow in 100,000 samples", async () => {
  const flags = probeStart().argv.filter((word) => word.startsWith("--v8-flags="));
  assert.equal(flags.length, 1);
  const script = new URL("../../testdata/run_vitals_fast.ts", import.meta.url).pathname;
  const argv = [Deno.execPath(), "run", "-A", "--no-check", ...flags, script, `${SAMPLES}`, `${EVERY}`];
  const { code, stderr } = await run(["sh", "-c", 'exec "$@" >/dev/null', "sh", ...argv], {
    timeoutMs: LONG_MS,
  });
  assert.equal(code, 0, stderr);
  const looks = stderr.split("\n").filter((line) => /^\d+ \d+ \d+ \d+$/.test(line)).map((line) =>
    Number(line.split(" ")[1])
  );
  assert.equal(looks.length, SAMPLES / EVERY, stderr);
  assert.ok(Math.max(...looks) < LIMIT_KIB, `${looks.join(", ")} KiB`);
  assert.ok(looks.at(-1)! - Math.min(...looks) < GROWTH_KIB, `${looks.join(", ")} KiB`);
});
