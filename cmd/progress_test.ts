import assert from "node:assert/strict";
import { listImage, setStage, STAGE_PROGRAMS } from "../testdata/import_stage.ts";
import { needs } from "../testdata/needs.ts";
import { davitArgv, davitEnv, run } from "../testdata/run.ts";
import { Activity } from "../lib/host/activity.ts";
import { lineDueAt, render } from "./progress.ts";

Deno.test("render() draws what moves and keeps within its lines", () => {
  const activity = new Activity();
  activity.begin("download");
  for (let i = 0; i < 30; i++) activity.bar(`${i}`, `layer\x1b[31m${i}`, 1000).done = i;
  activity.bar("ready", "ready", 10).done = 10;
  const lines = render(activity, 65_000, 10);
  assert.equal(lines.length, 10);
  assert.match(lines[0]!, /^1 m 5 s {2}download {2}445 B of 30\.0 kB$/);
  assert.ok(lines.every((line) => !line.includes("\x1b") && !line.includes("ready")));
  activity.note = "waiting 3 s for job 7";
  assert.match(render(activity, 1000, 1)[0]!, /^1\.0 s {2}waiting 3 s for job 7$/);
});

Deno.test("lineDueAt() spreads the lines: at once, 5, 15, 30 seconds, then minutes", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6].map(lineDueAt), [0.25, 5, 15, 30, 60, 120, 180]);
});

Deno.test({
  name: "davit image import draws bars on a terminal and leaves only the path there",
  ...needs({ root: true, programs: [...STAGE_PROGRAMS, "script"] }),
  async fn() {
    await using stage = await setStage(16 << 20);
    const line = davitArgv(stage.args("--compression", "xz")).map((word) => `'${word}'`).join(" ");
    const { code, stdout } = await run(["script", "-qec", line, "/dev/null"], {
      env: davitEnv({ TERM: "xterm" }),
    });
    assert.equal(code, 0, stdout);
    assert.match(stdout, /squash {2}.* of 20\.\d MB/);
    assert.match(stdout, /squashfs +\[#+-+\]/);
    // After the last erasure nothing but the path is to be seen.
    assert.equal(stdout.split("\x1b[J").at(-1), `${stage.output}\r\n`);
    assert.equal(await listImage(stage.output), stage.expected);
  },
});
