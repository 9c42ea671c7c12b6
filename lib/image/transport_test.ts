import assert from "node:assert/strict";
import { startKnobRegistry } from "../../testdata/knob_registry.ts";
import { testOptions } from "../../testdata/registry_options.ts";
import { needs } from "../../testdata/needs.ts";
import { tempDir } from "../../testdata/temp.ts";
import { parseChallenges } from "./challenge.ts";
import { TransientFault } from "./fault.ts";
import { isHttpAllowed, Transport } from "./transport.ts";

async function openssl(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args, stdout: "null", stderr: "piped" })
    .output();
  assert(success, new TextDecoder().decode(stderr));
}

/** An authority and a certificate of it for 127.0.0.1. Deno refuses certificates of X.509 version 1. */
async function makeCertificates(path: string): Promise<{ ca: string; cert: string; key: string }> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const ca = [
    "-x509",
    "-days",
    "2",
    "-subj",
    "/CN=davit test",
    "-addext",
    "basicConstraints=critical,CA:TRUE",
  ];
  await openssl("req", ...ca, ...key, "-keyout", `${path}/ca.key`, "-out", `${path}/ca.pem`);
  await openssl("req", ...key, "-subj", "/CN=host", "-keyout", `${path}/key.pem`, "-out", `${path}/host.csr`);
  await Deno.writeTextFile(`${path}/ext`, "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
  const signed = ["-CA", `${path}/ca.pem`, "-CAkey", `${path}/ca.key`, "-CAcreateserial", "-days", "2"];
  await openssl(
    "x509",
    "-req",
    "-in",
    `${path}/host.csr`,
    ...signed,
    "-extfile",
    `${path}/ext`,
    "-out",
    `${path}/cert.pem`,
  );
  return {
    ca: `${path}/ca.pem`,
    cert: await Deno.readTextFile(`${path}/cert.pem`),
    key: await Deno.readTextFile(`${path}/key.pem`),
  };
}

Deno.test({
  ...needs({ programs: ["openssl"] }),
  name: "Transport trusts --ca-file and tells other faults of TLS apart",
  async fn() {
    await using dir = await tempDir("tls");
    const { ca, cert, key } = await makeCertificates(dir.path);
    await using safe = await startKnobRegistry({ tls: { cert, key } });
    await using plain = await startKnobRegistry();
    const ask = async (url: string, over: Parameters<typeof testOptions>[0]) => {
      using transport = await Transport.open(testOptions({ allowHttp: [], ...over }));
      const answer = await transport.ask(url);
      await answer.discard();
      return answer.status;
    };
    assert.equal(await ask(`${safe.origin}/v2/`, { caFile: ca }), 200);
    assert.equal(await ask(`${safe.origin}/v2/`, { env: { SSL_CERT_FILE: ca } }), 200);
    await assert.rejects(ask(`${safe.origin}/v2/`, {}), {
      code: "registry_untrusted",
      message: /UnknownIssuer/,
      hint: /--ca-file/,
    });
    await assert.rejects(ask(`https://${plain.host}/v2/`, {}), {
      code: "registry_untrusted",
      hint: `--allow-http ${plain.host} permits plain http`,
    });
    await assert.rejects(ask(`http://${safe.host}/v2/`, {}), { hint: /perhaps it speaks TLS/ });
  },
});

Deno.test("Transport.open() refuses CA files that hold no certificate", async () => {
  await using dir = await tempDir("tls");
  await Deno.writeTextFile(dir.join("text"), "hello");
  await Deno.writeTextFile(
    dir.join("broken"),
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
  );
  for (
    const [name, message] of [["absent", /Cannot read/], ["text", /no PEM/], [
      "broken",
      /BadEncoding/,
    ]] as const
  ) {
    await assert.rejects(Transport.open(testOptions({ caFile: dir.join(name) })), {
      code: "bad_ca_file",
      message,
    });
  }
  const options = testOptions({ env: { SSL_CERT_FILE: dir.join("text") } });
  using _transport = await Transport.open(options);
  assert.match(options.lines.join(), /cannot use this host's certificate list/);
});

Deno.test("Transport keeps signed addresses out of its errors", async () => {
  using transport = await Transport.open(testOptions());
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  await assert.rejects(transport.ask(`http://127.0.0.1:${port}/x?signature=s3cr3t`), (error) => {
    assert(error instanceof TransientFault);
    assert(!Deno.inspect(error).includes("s3cr3t"), error.message);
    assert.equal(error.wasConnected, false);
    return true;
  });
});

Deno.test("isHttpAllowed() wants the same host, and the same port where one is named", () => {
  assert(isHttpAllowed("h:5000", ["h"]));
  assert(isHttpAllowed("h:5000", ["x", "H:5000"]));
  assert(!isHttpAllowed("h:5001", ["h:5000"]));
  assert(!isHttpAllowed("a.h", ["h"]));
  assert(!isHttpAllowed("h", ["h:80"]));
});

Deno.test("parseChallenges() reads several challenges and any rubbish", () => {
  const read = (text: string) =>
    parseChallenges(text).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
  assert.deepEqual(read('Bearer realm="https://a/t?x=1,2",service=s, Basic realm="q \\"z\\""'), [
    ["bearer", { realm: "https://a/t?x=1,2", service: "s" }],
    ["basic", { realm: 'q "z"' }],
  ]);
  assert.deepEqual(read("Negotiate, Basic"), [["negotiate", {}], ["basic", {}]]);
  assert.deepEqual(read('realm="x"'), []);
  assert.deepEqual(read("Bearer realm=\u0001"), [["bearer", { realm: "\u0001" }]]);
  assert.deepEqual(read(""), []);
});
