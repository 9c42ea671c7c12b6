import assert from "node:assert/strict";
import { assertFinding, binDir, examineWith, look } from "../../../testdata/doctor.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { gpuCheck } from "./gpu.ts";

Deno.test("doctor: gpu by devices and programs", async (t) => {
  await using dir = await tempDir("doctor");
  const devices = async (...names: string[]) => {
    const dev = dir.join(crypto.randomUUID());
    await Deno.mkdir(`${dev}/dri`, { recursive: true });
    for (const name of names) await Deno.writeTextFile(`${dev}/${name}`, "");
    return dev;
  };
  await Deno.mkdir(dir.join("broken"));
  const words = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.";
  await Deno.writeTextFile(dir.join("broken", "nvidia-smi"), `#!/bin/sh\necho "${words}"; exit 9\n`, {
    mode: 0o755,
  });
  const nvidia = ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"];
  const rows = [
    ["nothing", [], "/nonexistent", "missing", /no device .* no program/],
    ["two that answer", nvidia, binDir("gpu_ok"), "ok", /^2 × NVIDIA H100 80GB HBM3, driver 550\.54\.15$/],
    [
      "one fell off the bus",
      [...nvidia, "nvidia2"],
      binDir("gpu_ok"),
      "degraded",
      /3 devices, but only 2 answer/,
    ],
    ["no program", nvidia, "/nonexistent", "degraded", /2 NVIDIA devices, but no nvidia-smi/],
    [
      "no driver",
      [],
      dir.join("broken"),
      "degraded",
      /says \(exit 9\): NVIDIA-SMI has failed.*; no NVIDIA devices/,
    ],
    [
      "AMD",
      ["kfd", "dri/renderD128"],
      binDir("gpu_amd"),
      "ok",
      /amd-smi answers, .*kfd is there, 1 render node$/,
    ],
    ["AMD without kfd", [], binDir("gpu_amd"), "degraded", /kfd is missing/],
    ["AMD without program", ["kfd"], "/nonexistent", "degraded", /no amd-smi on PATH/],
    ["both", [...nvidia, "kfd"], `${binDir("gpu_ok")}:${binDir("gpu_amd")}`, "ok", /H100.*; amd-smi answers/],
  ] as const;
  for (const [name, names, search, state, detail] of rows) {
    await t.step(name, async () => {
      const dev = await devices(...names);
      // The fakes are shell scripts without a program of their own.
      assertFinding(await look(gpuCheck({ env: { PATH: search }, dev })), state, detail);
    });
  }
});

Deno.test("doctor: an nvidia-smi that never answers costs its own line and is ended", async () => {
  await using dir = await tempDir("doctor");
  const mark = crypto.randomUUID();
  const began = performance.now();
  const env = { PATH: `${binDir("gpu_hung")}:${Deno.env.get("PATH")}`, TEST_MARK: mark };
  const line = await examineWith({ directory: dir.path, env });
  assert.ok(performance.now() - began < 50_000);
  assertFinding(line("gpu"), "degraded", /nvidia-smi does not answer/);
  assert.notEqual(line("cgroup").state, undefined, "the others answered");
  assert.deepEqual(await processesWith(mark), [], "neither it nor its child is left");
});

async function processesWith(mark: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if ((await Deno.readTextFile(`/proc/${name}/environ`)).includes(mark)) found.push(name);
    } catch {
      // ended meanwhile
    }
  }
  return found;
}
