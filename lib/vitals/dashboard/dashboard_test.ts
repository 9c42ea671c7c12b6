import assert from "node:assert/strict";
import { parse } from "yaml";
import { davit } from "../../../testdata/run.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { isSampleKey } from "../keys.ts";
import { checkAlloyValues } from "./alloy.ts";
import { parseSelector } from "./logql.ts";
import { parseTaint, tolerates } from "./taint.ts";

const TAINT = "example.com/runner=gpu:NoSchedule";
const GPU_KEYS = ["util_pct", "mem_used_mib", "temp_c", "power_w"];

/** Fails where a query names a key that no line has, or its brackets or quotes do not pair. */
function assertQuery(query: string): void {
  for (const [, key] of query.matchAll(/unwrap (\w+)/g)) {
    assert.ok(isSampleKey(key!) || GPU_KEYS.includes(key!), key);
  }
  const bare = query.replaceAll(/"(?:[^"\\]|\\.)*"/g, "");
  assert.doesNotMatch(bare, /"/);
  for (const [open, close] of ["()", "{}", "[]"]) {
    assert.equal(bare.split(open!).length, bare.split(close!).length, query);
  }
}

Deno.test("vitals dashboard prints a dashboard whose queries know their keys", async () => {
  const { code, stdout, stderr } = await davit([
    ...[
      "vitals",
      "dashboard",
      "--selector",
      '{namespace="ci", app!="x"}',
      "--label",
      "instance",
      "--tag",
      "GPU_VITALS",
    ],
  ]);
  assert.deepEqual([code, stderr], [0, ""]);
  const model = JSON.parse(stdout);
  assert.ok(model.panels.length > 10);
  assert.equal(new Set(model.panels.map(({ id }: { id: number }) => id)).size, model.panels.length);
  for (const { targets, gridPos, datasource } of model.panels) {
    assert.deepEqual(datasource, { type: "loki", uid: "${datasource}" });
    assert.ok(gridPos.x + gridPos.w <= 24);
    for (const { expr } of targets) {
      assertQuery(expr);
      assert.ok(expr.includes('{namespace="ci", app!="x", instance=~"$runner"} |= "GPU_VITALS"'), expr);
    }
  }
  assert.deepEqual(model.templating.list.map(({ name }: { name: string }) => name), ["datasource", "runner"]);
});

Deno.test("vitals dashboard --datasource asks for no data source", async () => {
  const { stdout } = await davit(["vitals", "dashboard", "--datasource", "loki-1"]);
  const model = JSON.parse(stdout);
  assert.deepEqual(model.templating.list.map(({ name }: { name: string }) => name), ["runner"]);
  assert.ok(!stdout.includes("${datasource}"));
});

Deno.test("vitals dashboard --alerts prints rules for OOM kills, pressure and silence", async () => {
  const { code, stdout } = await davit(["vitals", "dashboard", "--alerts", "--selector", '{namespace="ci"}']);
  assert.equal(code, 0);
  const [{ rules }] = parse(stdout).groups;
  for (const { alert, expr, annotations, labels } of rules) {
    assert.match(alert, /^Vitals/);
    assertQuery(expr);
    assert.match(annotations.summary, /^\{\{ \$labels\.pod \}\}: /);
    assert.ok(labels.severity);
  }
  const names = rules.map(({ alert }: { alert: string }) => alert);
  for (const name of ["VitalsOomKill", "VitalsMemoryPressure", "VitalsSilence"]) {
    assert.ok(names.includes(name), name);
  }
});

Deno.test("vitals dashboard --alloy prints values that --check passes, for both charts", async (t) => {
  await using dir = await tempDir("dashboard");
  for (const chart of ["3", "4"]) {
    await t.step(`chart ${chart}`, async () => {
      const taints = ["--taint", TAINT, "--taint", "nvidia.com/gpu:NoSchedule"];
      const printed = await davit(["vitals", "dashboard", "--alloy", "--chart", chart, ...taints]);
      assert.equal(printed.code, 0, printed.stderr);
      const path = dir.join("values.yaml");
      await Deno.writeTextFile(path, printed.stdout);
      const checked = await davit(["vitals", "dashboard", "--check", path, ...taints]);
      assert.deepEqual([checked.code, checked.stderr], [0, ""]);
      const { "alloy-logs": collector } = chart === "4"
        ? parse(printed.stdout).collectors
        : parse(printed.stdout);
      assert.deepEqual(collector.controller.tolerations, [
        { key: "example.com/runner", operator: "Equal", value: "gpu", effect: "NoSchedule" },
        { key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" },
      ]);
    });
  }
});

const tolerations = (indent: number, key = "example.com/runner") =>
  ["tolerations:", `  - key: ${key}`, "    operator: Exists"].map((line) => " ".repeat(indent) + line).join(
    "\n",
  );

Deno.test("checkAlloyValues() finds tolerations in places that the operator ignores", async (t) => {
  const cases: [name: string, yaml: string, faults: string[]][] = [
    ["right, chart 3", `alloy-logs:\n  controller:\n${tolerations(4)}\n`, []],
    [
      "right, chart 4",
      `collectors:\n  logs:\n    presets: [filesystem-log-reader]\n    controller:\n${tolerations(6)}\n`,
      [],
    ],
    [
      "right, for all collectors",
      `collectorCommon:\n  alloy:\n    controller:\n${tolerations(6)}\nalloy-logs: {}\n`,
      [],
    ],
    ["the operator's own", `alloy-operator:\n${tolerations(2)}\n`, []],
    ["other charts' own", `kube-state-metrics:\n${tolerations(2)}\n`, []],
    ["an empty list", "alloy-logs:\n  tolerations: []\n  controller:\n" + tolerations(4), []],
    ["top of the collector", `alloy-logs:\n  enabled: true\n${tolerations(2)}\n`, [
      "3 alloy-logs.tolerations",
      "1 alloy-logs",
    ]],
    ["below alloy", `alloy-metrics:\n  alloy:\n${tolerations(4)}\n`, ["3 alloy-metrics.alloy.tolerations"]],
    ["top of chart 4's collector", `collectors:\n  any:\n${tolerations(4)}\n`, [
      "3 collectors.any.tolerations",
    ]],
    ["for all collectors", `collectorCommon:\n  alloy:\n${tolerations(4)}\n`, [
      "3 collectorCommon.alloy.tolerations",
    ]],
    ["in a wrapping chart", `k8s-monitoring:\n  collectors:\n    alloy-logs:\n${tolerations(6)}\n`, [
      "4 k8s-monitoring.collectors.alloy-logs.tolerations",
      "3 k8s-monitoring.collectors.alloy-logs",
    ]],
    ["in the resource", `kind: Alloy\nspec:\n${tolerations(2)}\n`, ["3 spec.tolerations"]],
    ["in the second document", `a: 1\n---\nalloy-logs:\n${tolerations(2)}\n`, [
      "4 alloy-logs.tolerations",
      "3 alloy-logs",
    ]],
    ["another taint's", `alloy-logs:\n  controller:\n${tolerations(4, "other")}\n`, ["1 alloy-logs"]],
    ["none", "alloy-logs:\n  enabled: true\n", ["1 alloy-logs"]],
    ["not even a map", "- 1\n", []],
    ["empty", "", []],
  ];
  for (const [name, yaml, faults] of cases) {
    await t.step(name, () => {
      const found = checkAlloyValues(yaml, [parseTaint(TAINT)]).map(({ line, path }) => `${line} ${path}`);
      assert.deepEqual(found.sort(), faults.sort());
    });
  }
});

Deno.test("vitals dashboard --check names the line and ends with 65", async () => {
  await using dir = await tempDir("dashboard");
  await Deno.writeTextFile(dir.join("v.yaml"), `alloy-logs:\n  enabled: true\n${tolerations(2)}\n`);
  const { code, stdout, stderr } = await davit(["vitals", "dashboard", "--check", dir.join("v.yaml")]);
  assert.equal(code, 65);
  assert.match(
    stdout,
    /v\.yaml:3: alloy-logs\.tolerations: tolerations are ignored here, put them under alloy-logs\.controller\.tolerations\n/,
  );
  assert.match(stderr, /^davit: Cannot use ".*v\.yaml" for a tainted pool/);
});

Deno.test("vitals dashboard refuses wrong usage", async (t) => {
  await using dir = await tempDir("dashboard");
  await Deno.writeTextFile(dir.join("bad.yaml"), "a: [\n");
  const cases: [args: string[], code: number, says: RegExp][] = [
    [["--alloy"], 64, /without --taint/],
    [["--alloy", "--taint", "gpu"], 64, /expected KEY\[=VALUE\]:EFFECT/],
    [["--alerts", "--alloy", "--taint", TAINT], 64, /cannot be used with/],
    [["--selector", "{"], 64, /expected matchers/],
    [["--selector", "{}"], 64, /expected matchers/],
    [["--label", "a-b"], 64, /expected the name of a label/],
    [["--tag", "a b"], 64, /Cannot use --tag/],
    [["--check", dir.join("none")], 66, /there is no such file/],
    [["--check", dir.join("bad.yaml")], 65, /Cannot read the values/],
  ];
  for (const [args, code, says] of cases) {
    await t.step(args.join(" "), async () => {
      const ended = await davit(["vitals", "dashboard", ...args]);
      assert.equal(ended.code, code, ended.stderr);
      assert.match(ended.stderr, says);
    });
  }
});

Deno.test("parseSelector() takes what Loki takes", () => {
  for (const text of ['{a="b"}', 'a="b"', '{a=~"x.*", b!="c", d!~`e"f`}', '{a="\\"}"}']) parseSelector(text);
  for (const text of ["", "{}", '{a="b"', "{a=b}", '{a="b"} |= "x"', '{a="b",}']) {
    assert.throws(() => parseSelector(text), /expected matchers/, text);
  }
});

Deno.test("tolerates() follows Kubernetes", () => {
  const taint = parseTaint(TAINT);
  const rows: [unknown, boolean][] = [
    [{ operator: "Exists" }, true],
    [{ key: "example.com/runner", operator: "Exists" }, true],
    [{ key: "example.com/runner", value: "gpu" }, true],
    [{ key: "example.com/runner", operator: "Equal", value: "gpu", effect: "NoSchedule" }, true],
    [{ key: "example.com/runner", value: "cpu" }, false],
    [{ key: "example.com/runner", value: "gpu", effect: "NoExecute" }, false],
    [{ key: "other", operator: "Exists" }, false],
    [{ key: "example.com/runner" }, false],
    ["Exists", false],
  ];
  for (const [written, expected] of rows) {
    assert.equal(tolerates(written, taint), expected, JSON.stringify(written));
  }
});
