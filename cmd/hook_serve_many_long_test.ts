import assert from "node:assert/strict";
import { type JobServer, jobServer } from "../testdata/hook_jobs.ts";
import { tempDir } from "../testdata/temp.ts";

const STEPS = 10_000;

interface Held {
  descriptors: number;
  threads: number;
  zombies: number;
  rssMiB: number;
}

async function held({ process }: JobServer): Promise<Held> {
  const status = await Deno.readTextFile(`/proc/${process.pid}/status`);
  const children = await Deno.readTextFile(`/proc/${process.pid}/task/${process.pid}/children`);
  return {
    descriptors: (await Array.fromAsync(Deno.readDir(`/proc/${process.pid}/fd`))).length,
    threads: Number(/^Threads:\s*(\d+)/m.exec(status)?.[1]),
    zombies: children.split(" ").filter(Boolean).length,
    rssMiB: Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]) / 1024,
  };
}

Deno.test("hook serve: ten thousand steps leave nothing behind", async () => {
  await using dir = await tempDir("many");
  await using server = await jobServer({ flags: [`--rpc-dir=${dir.join("rpc")}`] });
  // Every fourth leaves an orphan, has both streams and a code; every tenth a client that goes before the end.
  const step = async (count: number) => {
    const isFull = count % 4 === 0;
    const script = `(true &); echo ${count} out; echo err >&2; exit ${count % 200}`;
    const argv = isFull ? ["sh", "-c", script] : ["printf", "%s out\n", `${count}`];
    const { id } = await server.start({ argv });
    if (count % 10 === 0) {
      const abort = new AbortController();
      const response = await server.client.open("GET", `/v1/jobs/${id}/stream?from=0`, {
        signal: abort.signal,
      });
      abort.abort();
      await response.body?.cancel().catch(() => {});
    }
    const { result, stdout, stderr } = await server.follow(id);
    const expected = isFull ? [count % 200, `${count} out\n`, "err\n"] : [0, `${count} out\n`, ""];
    assert.deepEqual([result.code, stdout, stderr], expected);
  };
  for (let count = 0; count < 200; count++) await step(count);
  const before = await held(server);
  for (let count = 200; count < STEPS; count++) await step(count);
  let after = await held(server);
  for (
    const deadline = performance.now() + 20_000;
    after.zombies > 0 || after.descriptors > before.descriptors;
  ) {
    assert.ok(performance.now() < deadline, JSON.stringify({ before, after }));
    await new Promise((resolve) => setTimeout(resolve, 200));
    after = await held(server);
  }
  assert.ok(after.threads <= before.threads + 2, JSON.stringify({ before, after }));
  assert.ok(after.rssMiB < 120 && after.rssMiB < before.rssMiB + 40, JSON.stringify({ before, after }));
  assert.deepEqual(await Array.fromAsync(Deno.readDir(dir.join("rpc"))), []);
  const metrics = await (await server.client.open("GET", "/metrics")).text();
  assert.ok(Number(/^davit_hook_spool_bytes (\d+)$/m.exec(metrics)?.[1]) < 100_000, metrics);
  assert.equal(/^davit_hook_jobs_started_total (\d+)$/m.exec(metrics)?.[1], String(STEPS));
});
