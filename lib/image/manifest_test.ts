import assert from "node:assert/strict";
import fc from "fast-check";
import { EXIT, Failure } from "../failure.ts";
import { parseConfig, parseManifest } from "./manifest.ts";

const HEX = "ab".repeat(32);
const OCI = "application/vnd.oci.image.";

function bytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
}

function layer(over: Record<string, unknown> = {}): Record<string, unknown> {
  return { mediaType: `${OCI}layer.v1.tar+gzip`, digest: `sha256:${HEX}`, size: 7, ...over };
}

const config = { mediaType: `${OCI}config.v1+json`, digest: `sha256:${HEX}`, size: 3 };
const manifest = { schemaVersion: 2, mediaType: `${OCI}manifest.v1+json`, config, layers: [layer()] };

Deno.test("parseManifest() reads OCI and Docker manifests", () => {
  const expected = { mediaType: `${OCI}layer.v1.tar+gzip`, digest: `sha256:${HEX}`, sizeBytes: 7 };
  for (const mediaType of [manifest.mediaType, undefined]) {
    const read = parseManifest(bytes({ ...manifest, mediaType }), "m");
    assert(read.kind === "image");
    assert.deepEqual(read.layers, [expected]);
    assert.equal(read.config.sizeBytes, 3);
  }
  const docker = {
    schemaVersion: 2,
    mediaType: "application/vnd.docker.distribution.manifest.v2+json",
    config: { ...config, mediaType: "application/vnd.docker.container.image.v1+json" },
    layers: [layer({ mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip" })],
  };
  assert.equal(parseManifest(bytes(docker), "m").kind, "image");
});

Deno.test("parseManifest() reads an index and drops attestations", () => {
  const index = {
    schemaVersion: 2,
    manifests: [
      { ...config, platform: { os: "linux", architecture: "arm64", variant: "v8" } },
      { ...config, annotations: { "vnd.docker.reference.type": "attestation-manifest" } },
      config,
    ],
  };
  const read = parseManifest(bytes(index), "m");
  assert(read.kind === "index");
  assert.deepEqual(read.entries.map(({ platform }) => platform), [
    { os: "linux", architecture: "arm64", variant: "v8" },
    undefined,
  ]);
});

Deno.test("parseManifest() reports every fault with its path", () => {
  const faulty = {
    ...manifest,
    config: { ...config, size: -1 },
    layers: [layer(), layer({ digest: "sha256:x" })],
  };
  assert.throws(() => parseManifest(bytes(faulty), "the manifest"), (error) => {
    assert(error instanceof Failure);
    assert.equal(error.exitStatus, EXIT.PROTOCOL);
    assert.match(error.message, /config\.size: .*layers\.1\.digest: expected sha256/);
    return true;
  });
});

Deno.test("parseManifest() refuses what is no image, by name", async (t) => {
  const cases: [string, unknown, RegExp][] = [
    ["schema 1", { schemaVersion: 1, fsLayers: [] }, /schema 1/],
    [
      "artifact",
      { ...manifest, artifactType: "application/x.sbom" },
      /artifact of type "application\/x\.sbom"/,
    ],
    [
      "helm",
      { ...manifest, config: { ...config, mediaType: "application/vnd.cncf.helm.config.v1+json" } },
      /helm/,
    ],
    [
      "encrypted",
      { ...manifest, layers: [layer({ mediaType: `${OCI}layer.v1.tar+gzip+encrypted` })] },
      /encrypted/,
    ],
    ["both kinds", { ...manifest, manifests: [] }, /either could be meant/],
    ["layers in an index", { ...manifest, mediaType: `${OCI}index.v1+json` }, /index without manifests/],
    ["unknown type", { ...manifest, mediaType: "text/\u001bhtml" }, /type "text\/\\u001bhtml"/],
    ["many layers", { ...manifest, layers: Array(1001).fill(layer()) }, /at most 1000 layers/],
    ["one digest of two sizes", { ...manifest, layers: [layer(), layer({ size: 8 })] }, /layers\.1\.size/],
    ["a list", [], /no JSON object/],
    ["a page", "<html>", /no JSON \(6 bytes\)/],
    ["depth", "[".repeat(1_000_000), /no JSON/],
    ["nothing", "", /no JSON/],
  ];
  for (const [name, document, message] of cases) {
    await t.step(name, () => {
      assert.throws(() => parseManifest(bytes(document), "m"), (error) => {
        assert(error instanceof Failure, String(error));
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

Deno.test("parseConfig() takes nulls for absent values", () => {
  const read = parseConfig(
    bytes({
      os: "linux",
      architecture: "amd64",
      created: "2025-01-02T03:04:05.678901234Z",
      config: { Env: ["A=b"], Entrypoint: null, Cmd: ["sh"], Labels: null, Volumes: { "/z": {}, "/a": {} } },
      rootfs: { type: "layers", diff_ids: ["a"] },
    }),
    1,
    "c",
  );
  assert.deepEqual(read, {
    os: "linux",
    architecture: "amd64",
    createdSeconds: 1735787045,
    env: ["A=b"],
    entrypoint: [],
    cmd: ["sh"],
    workingDir: "",
    labels: {},
    volumes: ["/a", "/z"],
  });
  const bare = bytes({ os: "linux", architecture: "amd64", created: "0001-01-01T00:00:00Z", rootfs: {} });
  assert.equal(parseConfig(bare, 0, "c").createdSeconds, undefined);
  assert.throws(() => parseConfig(bare, 1, "c"), { code: "registry_protocol", message: /0 layers.*has 1/ });
});

Deno.test("parseManifest() and parseConfig() throw nothing but a Failure, whatever the bytes", () => {
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.json().map(bytes),
    fc.record({ schemaVersion: fc.jsonValue(), layers: fc.jsonValue(), config: fc.jsonValue() }).map(bytes),
    fc.record({ schemaVersion: fc.constant(2), manifests: fc.array(fc.jsonValue()) }).map(bytes),
  );
  fc.assert(fc.property(anything, (document) => {
    for (const read of [() => parseManifest(document, "m"), () => parseConfig(document, 0, "c")]) {
      try {
        read();
      } catch (error) {
        assert(error instanceof Failure, String(error));
      }
    }
  }));
});
