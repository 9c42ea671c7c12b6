import assert from "node:assert/strict";
import { isAlive } from "../../testdata/alive.ts";
import { tempDir } from "../../testdata/temp.ts";
import { nvidiaReader } from "./gpu_nvidia.ts";

const toolOf = (name: string) =>
  decodeURIComponent(new URL(`../../testdata/bin/${name}/nvidia-smi`, import.meta.url).pathname);
const read = (name: string) => nvidiaReader({ tool: toolOf(name) })(AbortSignal.timeout(30_000));

Deno.test("nvidiaReader() reads every field of eight GPUs", async () => {
  const report = await read("gpu_eight");
  assert.equal(report?.state, "ok");
  assert.equal(report.gpus.length, 8);
  assert.deepEqual(report.gpus[7], {
    gpu: 7,
    uuid: "GPU-8fe3a97d-51f6-a669-0d80-b4530b81b817",
    bus: "0000:7b:00.0",
    vendor: "nvidia",
    util_pct: 97,
    mem_util_pct: 47,
    mem_used_mib: 70007,
    mem_total_mib: 81559,
    temp_c: 67,
    mem_temp_c: 77,
    power_w: 657.25,
    power_limit_w: 700,
    sm_mhz: 1980,
    mem_mhz: 2619,
    pstate: "P0",
    throttle: "0x4",
    ecc_uncorrected: 0,
    ecc_corrected: 7,
    pcie_gen: 5,
    pcie_width: 16,
    recovery_action: "None",
  });
});

Deno.test("nvidiaReader() leaves out what the GPU does not tell", async () => {
  const report = await read("gpu_na");
  assert.deepEqual(report, {
    state: "ok",
    gpus: [{
      gpu: 0,
      uuid: "GPU-8fe3a97d-51f6-a669-0d80-b4530b81b816",
      bus: "0000:01:00.0",
      vendor: "nvidia",
      mem_used_mib: 9029,
    }],
  });
});

Deno.test("nvidiaReader() asks an old driver for what it knows, and remembers it", async () => {
  await using dir = await tempDir("gpu");
  const tool = dir.join("nvidia-smi");
  await Deno.writeTextFile(tool, `#!/bin/sh\necho >>"$0.calls"\nexec ${toolOf("gpu_old_driver")} "$@"\n`, {
    mode: 0o755,
  });
  const reader = nvidiaReader({ tool });
  const calls = async () => (await Deno.readTextFile(`${tool}.calls`)).length;
  for (const round of [1, 2]) {
    const report = await reader(AbortSignal.timeout(30_000));
    assert.equal(report?.state, "ok");
    assert.deepEqual(report.gpus, [{
      gpu: 0,
      uuid: "GPU-8fe3a97d-51f6-a669-0d80-b4530b81b816",
      bus: "0000:3b:00.0",
      vendor: "nvidia",
      util_pct: 12,
      mem_util_pct: 1,
      mem_used_mib: 1,
      mem_total_mib: 1,
      temp_c: 1,
      power_w: 1,
      sm_mhz: 1,
      mem_mhz: 1,
      pstate: "P8",
      throttle: "0x1",
    }]);
    // One is renamed, seven are not there, and the last call is right.
    assert.equal(await calls(), round === 1 ? 9 : 10);
  }
});

Deno.test("nvidiaReader() says what is wrong with an answer", async (t) => {
  const rows: [name: string, state: string, detail: RegExp, gpus: number][] = [
    ["gpu_columns", "error", /^0, GPU-8fe3a97d/, 0],
    ["gpu_no_driver", "error", /^status 9: NVIDIA-SMI has failed because/, 0],
    ["gpu_lost", "error", /^status 15: Unable to determine the device handle for GPU1/, 1],
    ["gpu_garbage", "error", /./, 0],
    ["gpu_none", "no_tool", /gpu_none/, 0],
  ];
  for (const [name, state, detail, gpus] of rows) {
    await t.step(name, async () => {
      const report = await read(name);
      assert.equal(report?.state, state);
      assert.match(report.detail ?? "", detail);
      assert.ok(report.detail!.length <= 220);
      assert.equal(report.gpus.length, gpus);
    });
  }
});

Deno.test("nvidiaReader() kills the tool when it is told to, and waits for no child of it", async () => {
  await using dir = await tempDir("gpu");
  const tool = dir.join("nvidia-smi");
  const script = `#!/bin/sh\ntrap '' TERM\nsleep 1000 & echo $$ $! >"$0.pids"\nwait\n`;
  await Deno.writeTextFile(tool, script, { mode: 0o755 });
  const abort = new AbortController();
  const reading = nvidiaReader({ tool })(abort.signal);
  const readPids = () => Deno.readTextFile(`${tool}.pids`).catch(() => "");
  let pids: number[] = [];
  while (pids.length < 2) pids = (await readPids()).split(/\s+/).filter(Boolean).map(Number);
  const [program, child] = pids as [number, number];
  try {
    abort.abort();
    await reading;
    assert.deepEqual([isAlive(program), isAlive(child)], [false, true]);
  } finally {
    Deno.kill(child, "SIGKILL");
  }
});
