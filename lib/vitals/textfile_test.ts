import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import type { Sample } from "./keys.ts";
import { PrometheusText, TextFile } from "./textfile.ts";

function sampleOf(values: [string, number | "max"][]): Sample {
  return new Map(values) as Sample;
}

Deno.test("PrometheusText names, types and labels what it knows, and adds deltas up", () => {
  const text = new PrometheusText({ runner: 'a "b"\\\n', pod: undefined });
  const sample = sampleOf([["mem_current", 5], ["mem_max", "max"], ["oom_kill", 2], ["net_rx_bytes", 10], [
    "seq",
    7,
  ]]);
  text.format(sample, { wallMs: 0, isRunning: true });
  const lines = text.format(sample, { wallMs: 1_500, isRunning: true }).split("\n");
  const labels = String.raw`{runner="a \"b\"\\\n"}`;
  for (
    const line of [
      `davit_vitals_running${labels} 1`,
      `davit_vitals_last_sample_timestamp_seconds${labels} 1.5`,
      "# TYPE davit_vitals_mem_current gauge",
      `davit_vitals_mem_current${labels} 5`,
      `davit_vitals_mem_max${labels} +Inf`,
      "# TYPE davit_vitals_oom_kill_total counter",
      `davit_vitals_oom_kill_total${labels} 2`,
      `davit_vitals_net_rx_bytes_total${labels} 20`,
    ]
  ) assert.ok(lines.includes(line), line);
  assert.ok(!lines.some((line) => line.includes("_seq")));
  const end = text.format(sample, { wallMs: 1_500, isRunning: false });
  assert.ok(end.includes(`davit_vitals_running${labels} 0\n`));
  assert.ok(end.includes(`net_rx_bytes_total${labels} 20\n`), "the last sample counts once");
});

Deno.test("TextFile replaces the file whole, leaves nothing beside it, and says when it cannot", async () => {
  await using dir = await tempDir("textfile");
  const file = new TextFile(dir.join("a.prom"));
  const first = file.put("one\n".repeat(1_000));
  assert.equal(first, undefined);
  file.put("two\n");
  file.put("three\n");
  assert.equal(await file.drain(10_000), true);
  assert.equal(await Deno.readTextFile(dir.join("a.prom")), "three\n");
  assert.deepEqual((await Array.fromAsync(Deno.readDir(dir.path))).map(({ name }) => name), ["a.prom"]);

  const states: string[] = [];
  const isLost = Promise.withResolvers<void>();
  const lost = new TextFile(dir.join("no/a.prom"), {
    slowRetryMs: 5,
    onState({ kind }) {
      states.push(kind);
      isLost.resolve();
    },
  });
  lost.put("one\n");
  await isLost.promise;
  assert.equal(await lost.drain(30), false);
  assert.deepEqual(states, ["lost"]);
  await Deno.mkdir(dir.join("no"));
  assert.equal(await lost.drain(10_000), true, "it is tried again when it is asked for");
  assert.deepEqual(states, ["lost", "back"]);
});

Deno.test({
  name: "a node_exporter serves the file",
  ...needs({ programs: ["prometheus-node-exporter"] }),
  async fn() {
    await using dir = await tempDir("node-exporter");
    const text = new PrometheusText({ runner: "r 1" });
    const file = new TextFile(dir.join("davit.prom"));
    file.put(
      text.format(sampleOf([["mem_current", 12_345], ["mem_max", "max"]]), { wallMs: 1e12, isRunning: true }),
    );
    assert.equal(await file.drain(10_000), true);
    await using exporter = start([
      "prometheus-node-exporter",
      "--collector.disable-defaults",
      "--collector.textfile",
      `--collector.textfile.directory=${dir.path}`,
      "--web.listen-address=127.0.0.1:0",
    ]);
    const [, address] = await exporter.waitFor(/Listening on.* address=(127\.0\.0\.1:\d+)/i);
    const page = await (await fetch(`http://${address}/metrics`)).text();
    for (
      const line of [
        "node_textfile_scrape_error 0",
        'davit_vitals_mem_current{runner="r 1"} 12345',
        'davit_vitals_mem_max{runner="r 1"} +Inf',
        "# TYPE davit_vitals_mem_current gauge",
        "# HELP davit_vitals_mem_current Memory charged to the cgroup, page cache included",
      ]
    ) assert.ok(page.split("\n").includes(line), `${line}\n${page.slice(0, 3_000)}`);
  },
});

Deno.test("TextFile puts no file in the place of a link or a directory", async () => {
  await using dir = await tempDir("textfile-other");
  await Deno.symlink("/dev/null", dir.join("link"));
  await Deno.mkdir(dir.join("dir"));
  for (const [name, errno] of [["link", "EEXIST"], ["dir", "EISDIR"]]) {
    const states: unknown[] = [];
    const isLost = Promise.withResolvers<void>();
    const file = new TextFile(dir.join(name!), {
      onState(state) {
        states.push(state);
        isLost.resolve();
      },
    });
    file.put("x 1\n");
    await isLost.promise;
    assert.equal(await file.drain(200), false);
    assert.deepEqual(states, [{ kind: "lost", errno, lost: 0 }]);
    const { isSymlink, isDirectory } = await Deno.lstat(dir.join(name!));
    assert.ok(name === "link" ? isSymlink : isDirectory);
    assert.equal((await Array.fromAsync(Deno.readDir(dir.path))).length, 2, "nothing is left beside them");
    await Deno.remove(dir.join(name!));
    assert.equal(await file.drain(10_000), true);
    assert.equal(await Deno.readTextFile(dir.join(name!)), "x 1\n");
  }
});
