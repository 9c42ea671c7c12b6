/**
 * `vitals run` with real receivers of what it samples, all of them at once.
 *
 * @module
 */
import assert from "node:assert/strict";
import { needs } from "../testdata/needs.ts";
import { start, startDavit } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { field, linesOf, pick, samples } from "../testdata/vitals_lines.ts";

Deno.test({
  name: "vitals run: an OTLP receiver and a node_exporter get the samples that stdout has",
  ...needs({ programs: ["prometheus-node-exporter"] }),
  async fn() {
    await using dir = await tempDir("vitals-sinks");
    // deno-lint-ignore no-explicit-any -- whatever came over the wire
    const got: { path: string; token: string | null; body: any }[] = [];
    await using http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      const token = request.headers.get("x-token");
      got.push({ path: new URL(request.url).pathname, token, body: await request.json() });
      return new Response("{}");
    });
    await using exporter = start([
      ...["prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile"],
      ...[`--collector.textfile.directory=${dir.path}`, "--web.listen-address=127.0.0.1:0"],
    ]);
    const [, address] = await exporter.waitFor(/Listening on.* address=(127\.0\.0\.1:\d+)/i);
    await using probe = startDavit([
      ...["vitals", "run", "--interval=200ms", `--textfile=${dir.join("davit.prom")}`],
      `--otlp=http://127.0.0.1:${http.addr.port}`,
    ], { env: { RUNNER_NAME: "r-1", OTEL_EXPORTER_OTLP_HEADERS: "x-token=t%201" } });
    await probe.waitFor(samples(4));
    const isWritten = async () => await Deno.stat(dir.join("davit.prom")).then(() => true, () => false);
    while (!await isWritten()) await new Promise((resolve) => setTimeout(resolve, 20));
    const page = await (await fetch(`http://${address}/metrics`)).text();
    assert.match(page, /^davit_vitals_running\{[^}]*runner="r-1"[^}]*\} 1$/m);
    assert.match(page, /^node_textfile_scrape_error 0$/m);

    probe.kill("SIGTERM");
    const { code, stdout, stderr } = await probe.done;
    assert.deepEqual([code, stderr], [0, ""]);
    assert.ok(got.every(({ path, token }) => path === "/v1/metrics" && token === "t 1"));
    const sent = got.flatMap(({ body: { resourceMetrics: [{ scopeMetrics: [{ metrics }] }] } }) =>
      // deno-lint-ignore no-explicit-any -- as above
      metrics.find(({ name }: any) => name === "davit.vitals.vm_mem_total_kb").gauge.dataPoints
    );
    const shown = pick(linesOf(stdout), "sample").map((line) => field(line, "vm_mem_total_kb"));
    assert.deepEqual(sent.map(({ asInt }) => asInt), shown, "each sample once, also the last");
  },
});
