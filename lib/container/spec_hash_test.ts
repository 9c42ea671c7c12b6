import assert from "node:assert/strict";
import fc from "fast-check";
import { makeSpec } from "../../testdata/container_facts.ts";
import { diffSpecs } from "./diff.ts";
import { LABELS, labelsFromMap, labelsToMap, makeLabels } from "./labels.ts";
import { canonicalSpec } from "./spec_hash.ts";

async function hashOf(text: string): Promise<string> {
  return (await canonicalSpec(await makeSpec(text))).hash;
}

async function differences(was: string, is: string) {
  const [before, after] = await Promise.all(
    [was, is].map(async (text) => canonicalSpec(await makeSpec(text))),
  );
  assert.equal(before!.hash === after!.hash, before!.json === after!.json);
  return diffSpecs(before!.json, after!.json);
}

Deno.test("what may change without another container has no part in the hash, all else has", async (t) => {
  const plain = await hashOf("");
  for (
    const text of [
      "hosts: [a, b]",
      "hosts: {kind: slurm, options: [--overlap]}",
      "sudo: always",
      "pull: always",
      "image_tar: /x.tar",
      "registry: {server: r, username: u, password_file: /p}",
      "start_timeout: 1h",
      "lease: 1h",
      "gpus: auto",
      "privileged: false",
      "volumes: []",
      "name: other",
    ]
  ) await t.step(`not: ${text}`, async () => assert.equal(await hashOf(text), plain));
  for (
    const text of [
      "image: x:2",
      "lifetime: per_run",
      "runtime: podman",
      "env: {A: b}",
      "env_file: [/e]",
      "volumes: [/a:/a]",
      "devices: [/dev/kfd]",
      "gpus: none",
      "cap_add: [SYS_PTRACE]",
      "security_opt: [seccomp=unconfined]",
      "group_add: [video]",
      "ulimits: [memlock=-1]",
      "network: host",
      "ipc: host",
      "pid: host",
      "hostname: h",
      "privileged: true",
      "shm_size: 1G",
      "init: true",
      "entrypoint: [a]",
      "command: [a]",
      "user: u",
      "workdir: /w",
      "restart: always",
      "sshd: true", // by its packaged setup script
    ]
  ) await t.step(`yes: ${text}`, async () => assert.notEqual(await hashOf(text), plain));
  await t.step("order and repetition have none", async () => {
    assert.equal(
      await hashOf("cap_add: [A, B]\nenv: {X: 1, Y: 2}\nvolumes: [/a:/a, /b:/b]"),
      await hashOf("env: {Y: 2, X: 1}\nvolumes: [/b:/b, /a:/a]\ncap_add: [B, A, B]"),
    );
    assert.notEqual(await hashOf("command: [a, b]"), await hashOf("command: [b, a]"));
  });
});

Deno.test("the canonical form stays as it is: another one would be drift for every container that is there", async () => {
  const text =
    "env: {B: 2, A: 1, TOKEN: x}\nvolumes: [/a:/a]\ngpus: amd\nprivileged: true\ncommand: [serve]\nsshd: true";
  const { json } = await canonicalSpec(await makeSpec(text));
  const { setup, ...rest } = JSON.parse(json);
  assert.equal(setup, "packaged default"); // whatever this version has in it
  assert.equal(
    JSON.stringify(rest),
    '{"image":"x:1","lifetime":"persistent","runtime":"docker",' +
      '"env":{"A":"1","B":"2","TOKEN":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},' +
      '"volumes":["/a:/a"],"gpus":"amd","privileged":true,"entrypoint":"of the image","command":["serve"]}',
  );
});

Deno.test("a diff names each field; secrets and long values only as different", async () => {
  assert.deepEqual(
    await differences("env: {A: one, B: same}\nshm_size: 1G", "env: {A: two, B: same, C: new}\nimage: y:2"),
    [
      { field: "image", was: '"x:1"', is: '"y:2"' },
      { field: "env.A", was: '"one"', is: '"two"' },
      { field: "env.C", was: undefined, is: '"new"' },
      { field: "shmSizeBytes", was: "1073741824", is: undefined },
    ],
  );
  const secrets = await differences(
    `env: {API_TOKEN: hunter1, PROXY: "http://ann:hunter2@p:1/", LONG: ${"x".repeat(300)}}`,
    `env: {API_TOKEN: hunter3, PROXY: "http://ann:hunter4@p:1/", LONG: ${"y".repeat(300)}}`,
  );
  assert.deepEqual(secrets.map(({ field, was, is }) => [field, was, is]), [
    ["env.API_TOKEN", "(not shown)", "(not shown)"],
    ["env.LONG", "(not shown)", "(not shown)"],
    ["env.PROXY", "(not shown)", "(not shown)"],
  ]);
  const { json } = await canonicalSpec(
    await makeSpec('env: {MY_PASSWORD: hunter2, U: "https://a:hunter2@b"}'),
  );
  assert.ok(!json.includes("hunter2"));
  assert.equal((await differences("", "sshd: true"))[0]!.is, '"packaged default"');
  const hashes = ["a", "b"].map((digit) => JSON.stringify({ setup: `sha256:${digit.repeat(64)}` }));
  assert.deepEqual(diffSpecs(hashes[0]!, hashes[1]!), [
    { field: "setup", was: '"sha256:aaaaaaaaaaaa"', is: '"sha256:bbbbbbbbbbbb"' },
  ]);
});

Deno.test("a spec that is too long for a label is known by its hash alone", async () => {
  const many = (last: string) =>
    `env:\n${
      Array.from({ length: 1_000 }, (_, index) => `  V${index}: "${"x".repeat(200)}"`).join("\n")
    }\n  Z: ${last}`;
  const [one, two] = await Promise.all(
    ["1", "2"].map(async (last) => canonicalSpec(await makeSpec(many(last)))),
  );
  assert.deepEqual([one!.json, two!.json], ["", ""]);
  assert.notEqual(one!.hash, two!.hash);
  assert.deepEqual(diffSpecs("{", one!.json), [{
    field: "spec",
    was: "(too long to be kept)",
    is: "(differs)",
  }]);
  // 100 KB in one value are one hash.
  const { json } = await canonicalSpec(await makeSpec(`env: {BIG: "${"x".repeat(100_000)}"}`));
  assert.ok(json.length < 1_000);
});

Deno.test("labels: there and back; anything missing is nothing of ours", async () => {
  const spec = await makeSpec("lease: 1h\nsshd: true");
  const labels = makeLabels(spec, await canonicalSpec(spec), {
    owner: "ann",
    generation: "g",
    imageDigest: "d",
  });
  assert.deepEqual([labels.leaseMs, labels.provision, labels.name], ["3600000", spec.setup!.sha256, "box"]);
  const map = labelsToMap(labels);
  assert.ok(Object.keys(map).every((key) => key.startsWith("davit.")));
  assert.deepEqual(labelsFromMap({ ...map, "org.opencontainers.image.title": "x" }), labels);
  for (const key of Object.values(LABELS)) {
    const { [key]: _, ...rest } = map;
    assert.equal(labelsFromMap(rest), undefined, key);
  }
  assert.equal(labelsFromMap({ ...map, [LABELS.generation]: "" }), undefined);
  for (const nothing of [null, undefined, {}]) assert.equal(labelsFromMap(nothing), undefined);
  const bare = makeLabels(await makeSpec(), { json: "{}", hash: "h" }, {
    owner: "a",
    generation: "g",
    imageDigest: "",
  });
  assert.deepEqual([bare.leaseMs, bare.provision], ["none", "none"]);
});

Deno.test("a diff of anything is empty exactly where the texts are equal in meaning", () => {
  const canonical = fc.record({
    image: fc.string(),
    env: fc.dictionary(fc.string(), fc.string()),
    volumes: fc.array(fc.string()),
  }, { requiredKeys: [] });
  fc.assert(fc.property(canonical, canonical, (a, b) => {
    const [was, is] = [JSON.stringify(a), JSON.stringify(b)];
    assert.deepEqual(diffSpecs(was, was), []);
    const there = diffSpecs(was, is).map(({ field }) => field).sort();
    assert.deepEqual(diffSpecs(is, was).map(({ field }) => field).sort(), there);
    assert.doesNotThrow(() => diffSpecs(was.slice(1), is));
  }));
});
