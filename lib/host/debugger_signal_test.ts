import assert from "node:assert/strict";
import { isAlive } from "../../testdata/alive.ts";
import { davitArgv, davitEnv, start, startDavit } from "../../testdata/run.ts";

/** Twice the time after which Deno listens to the signal. */
const LISTENS_MS = 1_000;

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

Deno.test("SIGUSR1 ends davit as it ends any program, and opens no debugger", async () => {
  await using probe = startDavit(["vitals", "run"]);
  await probe.waitFor(/kind=start/);
  await pause(LISTENS_MS);
  probe.kill("SIGUSR1");
  const { code, signal, stderr } = await probe.done;
  assert.deepEqual([code, signal], [138, "SIGUSR1"]);
  assert.doesNotMatch(stderr, /Debugger/);
});

Deno.test("SIGUSR1 stays ignored where it was", async () => {
  await using probe = start(["sh", "-c", 'trap "" USR1; exec "$@"', "sh", ...davitArgv(["vitals", "run"])], {
    env: davitEnv(),
  });
  await probe.waitFor(/kind=start/);
  await pause(LISTENS_MS);
  probe.kill("SIGUSR1");
  await probe.waitFor(/seq=[2-9]\b/);
  assert.ok(isAlive(probe.pid));
  assert.doesNotMatch(probe.stderr(), /Debugger/);
});
