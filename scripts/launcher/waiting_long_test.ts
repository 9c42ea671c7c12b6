import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../../testdata/portable.ts";
import { run, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";

Deno.test({
  ...needs({ programs: [...BUILD_PROGRAMS, "flock"] }),
  name: "a first start of the portable file waits a minute for one that stands still, then does without it",
  async fn() {
    await using dir = await tempDir("waiting");
    const env = { DAVIT_CACHE: dir.path };
    const davit = await portableFile();
    const { unpacked } = JSON.parse((await run([davit, "self", "--json"], { env })).stdout);
    await using holder = start(["flock", unpacked, "sh", "-c", "echo held; sleep 600"], {
      timeoutMs: 700_000,
    });
    await holder.waitFor(/held/);

    // With all parts there no lock is wanted.
    assert.equal((await run([davit, "--version"], { env, timeoutMs: 30_000 })).code, 0);
    await Deno.remove(`${unpacked}/runtime`);
    const startedMs = performance.now();
    const { code, stdout, stderr } = await run([davit, "--version"], { env, timeoutMs: 600_000 });

    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^davit \d/);
    assert(performance.now() - startedMs > 50_000, "it did not wait");
  },
});
