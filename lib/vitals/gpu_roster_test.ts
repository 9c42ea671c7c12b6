import assert from "node:assert/strict";
import type { GpuFacts, GpuReport } from "./gpu_report.ts";
import { parseReports } from "./gpu_report.ts";
import { GpuRoster } from "./gpu_roster.ts";

const gpu = (index: number, more: GpuFacts = { util_pct: 50 }): GpuFacts => ({
  gpu: index,
  uuid: `GPU-${index}`,
  bus: `0000:0${index}:00.0`,
  vendor: "nvidia",
  ...more,
});
const report = (state: GpuReport["state"], ...gpus: GpuFacts[]): GpuReport => ({
  vendor: "nvidia",
  state,
  gpus,
});

/** A roster that is told of `reports` at 10 s each; what it tells, by step: "0 ok 0" lines and event names. */
function tell(...reports: (GpuReport | undefined)[]): string[][] {
  let nowMs = 0;
  let step: string[] = [];
  const roster = new GpuRoster({
    onLine: ({ gpu: index, gpu_state, gpu_age_ms, util_pct }) =>
      step.push(
        `${index} ${gpu_state} ${Number(gpu_age_ms) / 1_000}${util_pct === undefined ? "" : " util"}`,
      ),
    onEvent: (event, { gpu: index, gpus, before, errno }) =>
      step.push([event, index ?? gpus ?? errno, before].filter((part) => part !== undefined).join(" ")),
  }, () => nowMs);
  return reports.map((item) => {
    step = [];
    roster.take(item ? [item] : [], item ? [] : ["nvidia"]);
    nowMs += 10_000;
    return step;
  });
}

Deno.test("GpuRoster tells what becomes of GPUs", async (t) => {
  const both = ["0 ok 0 util", "1 ok 0 util"];
  const rows: [what: string, reports: (GpuReport | undefined)[], told: string[][]][] = [
    ["all is well", [report("ok", gpu(0), gpu(1)), report("ok", gpu(1), gpu(0))], [
      ["gpu_count 2 0", ...both],
      both,
    ]],
    ["a hang, then an answer", [
      report("ok", gpu(0)),
      report("hung"),
      report("hung"),
      report("ok", gpu(0)),
    ], [
      ["gpu_count 1 0", "0 ok 0 util"],
      ["gpu_hung", "0 hung 10"],
      ["0 hung 20"],
      ["source_back", "0 ok 0 util"],
    ]],
    ["a hang from the beginning", [report("hung"), report("hung")], [["gpu_hung"], []]],
    ["no tool", [report("no_tool"), report("no_tool")], [["source_lost ENOENT"], []]],
    ["an error of the tool", [report("ok", gpu(0)), report("error")], [
      ["gpu_count 1 0", "0 ok 0 util"],
      ["source_lost", "0 error 10"],
    ]],
    ["one is no longer listed", [
      report("ok", gpu(0), gpu(1)),
      report("error", gpu(0)),
      report("error", gpu(0)),
      report("hung"),
      report("ok", gpu(0), gpu(1)),
    ], [
      ["gpu_count 2 0", ...both],
      ["source_lost", "gpu_lost 1", "gpu_count 1 2", "0 ok 0 util", "1 missing 10"],
      ["0 ok 0 util", "1 missing 20"],
      ["gpu_hung", "0 hung 10", "1 missing 30"],
      ["source_back", "gpu_count 2 1", ...both],
    ]],
    ["one is replaced", [report("ok", gpu(0)), report("ok", { ...gpu(0), uuid: "GPU-9" })], [
      ["gpu_count 1 0", "0 ok 0 util"],
      ["gpu_lost 0", "0 missing 10", "0 ok 0 util"],
    ]],
    ["one forgets all but its number", [report("ok", gpu(0)), report("ok", { gpu: 0, vendor: "nvidia" })], [
      ["gpu_count 1 0", "0 ok 0 util"],
      ["0 error 10"],
    ]],
    ["the driver is taken away", [report("ok", gpu(0)), undefined, undefined], [
      ["gpu_count 1 0", "0 ok 0 util"],
      ["gpu_lost 0", "gpu_count 0 1", "0 missing 10"],
      ["0 missing 20"],
    ]],
    ["there never was one", [undefined, undefined], [[], []]],
  ];
  for (const [what, reports, told] of rows) {
    await t.step(what, () => assert.deepEqual(tell(...reports), told));
  }
});

Deno.test("parseReports() takes only what it knows", async (t) => {
  const good =
    '[{"vendor":"nvidia","state":"ok","gpus":[{"gpu":0,"uuid":"GPU-1","evil":"x","temp_c":null,"power_w":1}]}]';
  assert.deepEqual(parseReports(good), [{
    vendor: "nvidia",
    state: "ok",
    detail: undefined,
    gpus: [{ gpu: 0, uuid: "GPU-1", power_w: 1 }],
  }]);
  const bad = [
    "",
    "[",
    "null",
    "{}",
    "[1]",
    good.slice(0, 40),
    good.replace("nvidia", "x"),
    good.replace("ok", "x"),
  ];
  for (const text of bad) {
    await t.step(JSON.stringify(text), () => assert.equal(parseReports(text), undefined));
  }
  const long = parseReports(
    `[{"vendor":"amd","state":"error","detail":"\\n\\n${"x".repeat(999)}\\ny","gpus":[]}]`,
  );
  assert.equal(long?.[0]?.detail, "x".repeat(200));
});
