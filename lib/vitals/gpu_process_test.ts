import assert from "node:assert/strict";
import { isAlive, untilEnded } from "../../testdata/alive.ts";
import { type GpuMachine, machine, until } from "../../testdata/gpu_machine.ts";
import { davitArgv, start } from "../../testdata/run.ts";

const WATCH_GPUS = decodeURIComponent(new URL("../../testdata/watch_gpus.ts", import.meta.url).pathname);

/** A watch in a process of its own, and its helper once it has answered. */
async function startWatch(host: GpuMachine, deadlineMs: number) {
  const config = decodeURIComponent(new URL("../../deno.json", import.meta.url).pathname);
  const argv = [Deno.execPath(), "run", "-A", "--no-prompt", "--quiet", `--config=${config}`, WATCH_GPUS];
  const parent = start([...argv, host.dev, host.tool, String(deadlineMs), ...davitArgv([])]);
  await parent.waitFor(/"gpu_state":"ok"/, 30_000);
  const children = await Deno.readTextFile(`/proc/${parent.pid}/task/${parent.pid}/children`);
  return { parent, helper: Number(children.trim().split(" ")[0]) };
}

Deno.test("the helper ends when its parent was killed", async () => {
  await using host = await machine();
  await host.use("gpu_eight");
  const { parent, helper } = await startWatch(host, 10_000);
  await using _ = parent;
  assert.ok(isAlive(helper));
  parent.kill("SIGKILL");
  await untilEnded(helper, 20_000);
});

Deno.test("GpuWatch takes no stop of the container for a hang of the GPUs", async () => {
  await using host = await machine();
  await host.use("gpu_eight", "sleep 0.3");
  const { parent, helper } = await startWatch(host, 2_000);
  await using _ = parent;
  for (const round of [1, 2, 3]) {
    // In the middle of a question, whose deadline is over when all go on.
    const asked = (await host.started()).length;
    await until(async () => (await host.started()).length > asked, "a question");
    parent.kill("SIGSTOP");
    Deno.kill(-helper, "SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const before = parent.stdout().length;
    Deno.kill(-helper, "SIGCONT");
    parent.kill("SIGCONT");
    await until(() => parent.stdout().slice(before).split('"gpu":7').length > 3, `lines after stop ${round}`);
  }
  assert.doesNotMatch(parent.stdout(), /hung|lost/);
});
