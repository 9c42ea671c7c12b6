import assert from "node:assert/strict";
import { setStage, STAGE_PROGRAMS } from "../../testdata/import_stage.ts";
import { needs } from "../../testdata/needs.ts";
import { davit, davitArgv, davitEnv, run } from "../../testdata/run.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

Deno.test("examples/config.yaml is a configuration that davit takes", async () => {
  const { code, stdout, stderr } = await davit(["config", "show", "--json"], {
    env: { DAVIT_CONFIG: `${ROOT}examples/config.yaml` },
  });
  assert.equal(code, 0, stderr);
  const settings: { key: string; value: unknown; origin: { kind: string } }[] = JSON.parse(stdout).settings;
  const fromFile = settings.filter(({ origin }) => origin.kind === "file");
  assert.equal(fromFile.length, 7);
  assert.equal(fromFile.find(({ key }) => key === "image.lock_timeout")?.value, 600_000);
});

Deno.test({
  name: "examples/launch_job.sh imports once and starts the job in the image",
  ...needs({ root: true, programs: [...STAGE_PROGRAMS, "bash"] }),
  async fn() {
    await using stage = await setStage(100_000);
    const bin = stage.dir.join("bin");
    await Deno.mkdir(bin);
    const line = davitArgv([]).map((word) => `'${word}'`).join(" ");
    await Deno.writeTextFile(`${bin}/davit`, `#!/bin/sh\nexec ${line} "$@"\n`, { mode: 0o755 });
    const env = davitEnv({
      PATH: `${bin}:${ROOT}testdata/bin/slurm:${Deno.env.get("PATH")}`,
      IMAGES: stage.dir.join("images"),
      DAVIT_IMAGE_CACHE_DIR: stage.cache,
      DAVIT_IMAGE_ALLOW_HTTP: stage.registry.host,
    });
    const image = stage.uri.replace("docker://", "");
    for (let round = 0; round < 2; round++) {
      const { code, stdout, stderr } = await run([`${ROOT}examples/launch_job.sh`, image, "echo", "a b"], {
        env,
      });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /squashfs-root\/data\/numbers\n/);
      assert.match(stdout, /would run: echo a b\n$/);
    }
    const gets = stage.registry.requests().filter((request) => /^GET .*\/blobs\//.test(request));
    assert.equal(gets.length, 4);
  },
});
