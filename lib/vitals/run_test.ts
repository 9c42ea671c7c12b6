import assert from "node:assert/strict";
import { davitEnv, type LiveProcess, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { field, linesOf, pick, samples } from "../../testdata/vitals_lines.ts";

const SCRIPT = new URL("../../testdata/run_vitals.ts", import.meta.url).pathname;
const TOOLS = new URL("../../testdata/bin/", import.meta.url).pathname;

/** A probe with sources of its own; `tool` is the directory of testdata/bin whose nvidia-smi is found first. */
function startProbe(sources: Record<string, unknown>, tool?: string): LiveProcess {
  const path = tool === undefined ? {} : { PATH: `${TOOLS}${tool}:${Deno.env.get("PATH")}` };
  return start([Deno.execPath(), "run", "-A", "--no-check", SCRIPT, JSON.stringify(sources)], {
    env: davitEnv(path),
  });
}

/** A /dev with one NVIDIA GPU. */
async function deviceTree(path: string): Promise<string> {
  await Deno.mkdir(`${path}/dev`);
  await Deno.writeTextFile(`${path}/dev/nvidia0`, "");
  return `${path}/dev`;
}

Deno.test("runVitals() prints a line per GPU, with its age, beside the samples", async () => {
  await using dir = await tempDir("run-gpu");
  await using probe = startProbe({ dev: await deviceTree(dir.path) }, "gpu_eight");
  await probe.waitFor(/kind=gpu [^\n]*gpu=7 /, 30_000);
  await probe.waitFor(samples(3));
  probe.kill("SIGTERM");
  const lines = linesOf((await probe.done).stdout);
  assert.equal(field(lines[0], "gpus"), "1");
  const gpus = pick(lines, "gpu");
  assert.deepEqual(gpus.slice(0, 8).map((line) => field(line, "gpu")), [..."01234567"]);
  assert.equal(field(gpus[3], "gpu_state"), "ok");
  assert.ok(Number(field(gpus[3], "gpu_age_ms")) >= 0);
  assert.equal(lines.at(-1)!.kind, "end");
});

Deno.test("runVitals() is not delayed by a GPU tool that hangs, and ends without waiting for it", async () => {
  await using dir = await tempDir("run-gpu-hung");
  await using probe = startProbe({ dev: await deviceTree(dir.path) }, "gpu_hung");
  await probe.waitFor(samples(8), 30_000);
  probe.kill("SIGTERM");
  const lines = linesOf((await probe.done).stdout);
  assert.ok(pick(lines, "sample").length >= 8);
  assert.equal(pick(lines, "event", "resume").length, 0);
  assert.equal(lines.at(-1)!.kind, "end");
});

Deno.test("runVitals() without a kernel log says so, and lets the counters speak", async () => {
  await using dir = await tempDir("run-counters");
  const group = dir.join("cgroup");
  await Deno.mkdir(group);
  const put = (kills: number) =>
    Deno.writeTextFile(`${group}/memory.events`, `low 0\nhigh 0\nmax 0\noom ${kills}\noom_kill ${kills}\n`);
  await Deno.writeTextFile(`${group}/memory.current`, "4096\n");
  await Deno.writeTextFile(`${group}/cgroup.procs`, "");
  await Deno.mkdir(dir.join("proc", "self"), { recursive: true });
  await Deno.writeTextFile(dir.join("proc", "self", "cgroup"), "0::/\n");
  await Deno.writeTextFile(
    dir.join("proc", "self", "mountinfo"),
    `30 1 0:26 / ${group} rw - cgroup2 cgroup2 rw\n`,
  );
  await put(2);
  await using probe = startProbe({ kmsg: dir.join("none"), proc: dir.join("proc") });
  await probe.waitFor(samples(2), 30_000);
  await put(5);
  await probe.waitFor(/event=oom_counter/);
  probe.kill("SIGTERM");
  const lines = linesOf((await probe.done).stdout);
  assert.equal(field(lines[0], "kmsg"), "absent");
  assert.deepEqual(pick(lines, "event", "oom_counter").map((line) => field(line, "delta")), ["3"]);
});
