import assert from "node:assert/strict";
import type { Sample, SampleKey } from "./keys.ts";
import { metricsUrl, type OtlpOptions, OtlpSender, parseOtlpHeaders } from "./otlp.ts";

interface Received {
  readonly path: string;
  readonly headers: Headers;
  // deno-lint-ignore no-explicit-any -- whatever came over the wire
  readonly body: any;
}

/** A receiver on loopback that answers with `status`, or not at all. */
function receiver(status: () => number | Promise<number>) {
  const got: Received[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    got.push({
      path: new URL(request.url).pathname,
      headers: request.headers,
      body: await request.json(),
    });
    return new Response("{}", { status: await status() });
  });
  return { got, url: `http://127.0.0.1:${server.addr.port}`, [Symbol.asyncDispose]: () => server.shutdown() };
}

function sampleOf(seq: number): Sample {
  const values: [SampleKey, number | "max"][] = [
    ["mem_current", 1_000 + seq],
    ["cpu_busy_pct", 12.5],
    ["net_rx_bytes", seq],
    ["oom_kill", 3],
    ["mem_max", "max"],
  ];
  return new Map(values);
}

function senderTo(url: string, options: Partial<OtlpOptions> = {}): OtlpSender {
  const attributes = { "host.name": "h", "k8s.pod.name": undefined };
  return new OtlpSender({ url, attributes, version: "1", ...options }, { nowMs: 1_000 });
}

Deno.test("OtlpSender sends one batch of gauges, sums and their times to a real receiver", async () => {
  await using http = receiver(() => 200);
  const sender = senderTo(http.url, { headers: { authorization: "Bearer s" } });
  sender.add(2_000, sampleOf(1));
  sender.add(5_000, sampleOf(2));
  await sender.drain(10_000);
  assert.equal(http.got.length, 1);
  const { path, headers, body } = http.got[0]!;
  assert.equal(path, "/v1/metrics");
  assert.equal(headers.get("content-type"), "application/json");
  assert.equal(headers.get("authorization"), "Bearer s");
  const [{ resource, scopeMetrics: [{ metrics }] }] = body.resourceMetrics;
  assert.deepEqual(resource.attributes, [
    { key: "service.name", value: { stringValue: "davit-vitals" } },
    { key: "host.name", value: { stringValue: "h" } },
  ]);
  // deno-lint-ignore no-explicit-any -- as above
  const metric = (key: string) => metrics.find(({ name }: any) => name === `davit.vitals.${key}`);
  assert.deepEqual(metric("mem_current"), {
    name: "davit.vitals.mem_current",
    unit: "By",
    description: "Memory charged to the cgroup, page cache included",
    gauge: {
      dataPoints: [
        { timeUnixNano: "2000000000", asInt: "1001" },
        { timeUnixNano: "5000000000", asInt: "1002" },
      ],
    },
  });
  assert.deepEqual(metric("cpu_busy_pct").gauge.dataPoints[0].asDouble, 12.5);
  assert.deepEqual(metric("net_rx_bytes").sum, {
    dataPoints: [
      { startTimeUnixNano: "1000000000", timeUnixNano: "2000000000", asInt: "1" },
      { startTimeUnixNano: "2000000000", timeUnixNano: "5000000000", asInt: "2" },
    ],
    aggregationTemporality: 1,
    isMonotonic: true,
  });
  assert.equal(metric("oom_kill").sum.aggregationTemporality, 2);
  assert.equal(metric("mem_max"), undefined);
});

Deno.test("OtlpSender sends by itself when a batch is due", async () => {
  await using http = receiver(() => 200);
  const sender = senderTo(`${http.url}/own/path`, { batchMs: 10 });
  sender.add(2_000, sampleOf(1));
  const deadline = Date.now() + 10_000;
  while (http.got.length === 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(http.got[0]?.path, "/own/path");
  await sender.drain(10_000);
});

Deno.test("OtlpSender drops what is refused, says so once, and says when it works again", async () => {
  let status = 503;
  await using http = receiver(() => status);
  const states: string[] = [];
  const sender = senderTo(http.url, {
    onState: ({ kind, reason, dropped }) => states.push(`${kind} ${reason} ${dropped}`),
  });
  for (const answer of [503, 503, 200, 200]) {
    status = answer;
    sender.add(2_000, sampleOf(1));
    await sender.drain(10_000);
  }
  assert.deepEqual(states, ["lost HTTP 503 1", "back  2"]);
  assert.equal(sender.dropped, 2);
});

Deno.test("OtlpSender waits for nobody: a receiver that hangs or is not there costs a bounded number of samples", async (t) => {
  await t.step("hangs", async () => {
    const held = Promise.withResolvers<number>();
    await using http = receiver(() => held.promise);
    const states: string[] = [];
    const sender = senderTo(http.url, {
      batchMs: 1,
      timeoutMs: 1_500,
      capacity: 4,
      onState: ({ kind }) => states.push(kind),
    });
    sender.add(2_000, sampleOf(0));
    while (http.got.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    for (let seq = 1; seq <= 50; seq++) sender.add(2_000 + seq, sampleOf(seq));
    assert.equal(sender.dropped, 46, "four are kept while one request is on its way");
    await sender.drain(10_000);
    assert.equal(states[0], "lost");
    held.resolve(200);
  });
  await t.step("is not there", async () => {
    const states: string[] = [];
    const sender = senderTo("http://127.0.0.1:9", { onState: ({ kind }) => states.push(kind) });
    sender.add(2_000, sampleOf(1));
    await sender.drain(10_000);
    assert.deepEqual(states, ["lost"]);
  });
});

Deno.test("metricsUrl() adds OTLP's path where there is none, and refuses logins and other schemes", () => {
  assert.equal(metricsUrl("http://127.0.0.1:4318"), "http://127.0.0.1:4318/v1/metrics");
  assert.equal(metricsUrl("https://c.example/x?y=1"), "https://c.example/x?y=1");
  for (const text of ["", "localhost:4318", "ftp://user:hunter2@h/", "http://", "http://user:hunter2@h/"]) {
    assert.throws(
      () => metricsUrl(text),
      (error) => error instanceof SyntaxError && !/hunter2/.test(error.message),
    );
  }
});

Deno.test("parseOtlpHeaders() decodes pairs and counts what is none", () => {
  assert.deepEqual(parseOtlpHeaders(""), { headers: {}, bad: 0 });
  assert.deepEqual(parseOtlpHeaders("Authorization=Basic%20YQ==, x-scope = a%2Cb ,"), {
    headers: { authorization: "Basic YQ==", "x-scope": "a,b" },
    bad: 0,
  });
  assert.deepEqual(parseOtlpHeaders("novalue,=x,a b=c,k=%zz,n=%0Aevil,ok=1"), {
    headers: { ok: "1" },
    bad: 5,
  });
});
