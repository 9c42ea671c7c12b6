/**
 * Runs a probe with sources of the test's own, which no flag names: `run_vitals.ts JSON`. SIGTERM ends it.
 *
 * @module
 */
import { runVitals } from "../lib/vitals/run.ts";

const root = new URL("../", import.meta.url).pathname;
const deno = [Deno.execPath(), "run", "-A", "--no-prompt", "--quiet", `--config=${root}deno.json`] as const;
const stop = new AbortController();
Deno.addSignalListener("SIGTERM", () => stop.abort());
await runVitals({
  interval: "200ms",
  tag: "RUNNER_VITALS",
  format: "logfmt",
  env: {},
  version: "test",
  self: { argv: [...deno, `${root}main.ts`], env: {} },
  signal: stop.signal,
  ...JSON.parse(Deno.args[0] ?? "{}"),
});
Deno.exit(0);
