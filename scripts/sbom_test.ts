import assert from "node:assert/strict";
import { brokenRules } from "../testdata/spdx_rules.ts";
import type { PackedPart } from "./compile.ts";
import type { NpmPackage } from "./release/npm_packages.ts";
import { makeSbom, type ReleaseFacts } from "./sbom.ts";

const sum = (digit: string) => digit.repeat(64);
const npmPackage = (name: string, use: NpmPackage["use"], dependencies: string[] = []): NpmPackage => ({
  name,
  version: "1.0.0-rc.1+x",
  dependencies,
  checksum: { algorithm: "SHA512", hex: "ab".repeat(64) },
  use,
  ...use === "direct" && { license: "(MIT OR Apache-2.0)" },
});
const part = (name: string, origin: string, version: string): PackedPart => ({
  name,
  origin,
  version,
  sha256: sum("1"),
});
const packed = [
  part("davit", "libc6", "2.36-9+deb12u14"),
  part("runtime", "deno", "2.9.6"),
  part("main.js", "davit", "0.1.0"),
  part("libc.so.6", "libc6", "2.36-9+deb12u14"),
  part("libstdc++.so.6", "libstdc++6", "12.2.0-14"),
  part("sqfstar", "squashfs-tools", "1:4.5.1-1"),
  part("libodd.so", "libodd~1", "1.0~rc1"),
];
const FACTS: ReleaseFacts = {
  version: "0.1.0",
  license: "Apache-2.0",
  commit: "0123456789abcdef0123456789abcdef01234567",
  isDirty: false,
  epoch: 1_700_000_000,
  artefacts: [
    { name: "davit-x86_64-linux", arch: "x86_64", kind: "compiled", sha256: sum("a"), packed },
    { name: "davit-x86_64-linux-portable", arch: "x86_64", kind: "portable", sha256: sum("b"), packed },
    { name: "davit-aarch64-linux-portable", arch: "aarch64", kind: "portable", sha256: sum("c"), packed },
  ],
  npm: [
    npmPackage("@scope/one", "direct", ["two@1.0.0-rc.1+x"]),
    npmPackage("two", "indirect"),
    npmPackage("three", "dev", ["two@1.0.0-rc.1+x"]),
  ],
};

const asJson = (document: unknown) => JSON.parse(JSON.stringify(document));

Deno.test("makeSbom() keeps the rules of SPDX 2.3", async (t) => {
  const cases: [string, Partial<ReleaseFacts>][] = [
    ["a release", {}],
    ["no git, no files, no npm", { commit: undefined, artefacts: [], npm: [], epoch: 0 }],
    ["a dirty tree, one file", { isDirty: true, artefacts: FACTS.artefacts.slice(1, 2) }],
  ];
  for (const [name, changes] of cases) {
    await t.step(name, async () => {
      assert.deepEqual(brokenRules(asJson(await makeSbom({ ...FACTS, ...changes }))), []);
    });
  }
});

Deno.test("the rules of SPDX 2.3 notice what breaks them", async (t) => {
  // deno-lint-ignore no-explicit-any
  const breaks: [string, (document: any) => void, RegExp][] = [
    ["a bad id", (d) => d.packages[0].SPDXID = "SPDXRef-a_b", /SPDXID: "SPDXRef-a_b"/],
    ["an id twice", (d) => d.packages.push(d.packages[0]), /is there twice/],
    ["a lost end", (d) => d.relationships[2].relatedSpdxElement = "SPDXRef-x", /an end is missing/],
    ["milliseconds", (d) => d.creationInfo.created = "2023-11-14T22:13:20.000Z", /created:/],
    [
      "a field that is not there",
      (d) => delete d.packages[1].downloadLocation,
      /downloadLocation: undefined/,
    ],
    ["a short sum", (d) => d.packages[1].checksums[0].checksumValue = "ab", /SHA512: "ab"/],
    [
      "a lone package",
      (d) => d.packages.push({ ...d.packages[0], SPDXID: "SPDXRef-lone" }),
      /lone belongs to/,
    ],
    ["a fragment", (d) => d.documentNamespace += "#x", /documentNamespace/],
    ["a bad purl", (d) => d.packages[1].externalRefs[0].referenceLocator = "pkg:npm/@a/b@1", /purl:/],
  ];
  for (const [name, damage, message] of breaks) {
    await t.step(name, async () => {
      const document = asJson(await makeSbom(FACTS));
      damage(document);
      assert.match(brokenRules(document).join("\n"), message);
    });
  }
});

Deno.test("makeSbom() says where each thing comes from and what it is part of", async () => {
  const { packages, relationships, creationInfo } = await makeSbom(FACTS);
  const byName = (name: string) => packages.find((each) => each.name === name)!;
  const locators = (name: string) => byName(name).externalRefs!.map((each) => each.referenceLocator);
  assert.equal(creationInfo.created, "2023-11-14T22:13:20Z");
  assert.deepEqual(locators("@scope/one"), ["pkg:npm/%40scope/one@1.0.0-rc.1%2Bx"]);
  assert.deepEqual(locators("deno"), ["pkg:npm/deno@2.9.6", "cpe:2.3:a:deno:deno:2.9.6:*:*:*:*:*:*:*"]);
  assert.deepEqual(locators("libc6"), ["pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&upstream=glibc"]);
  assert.deepEqual(locators("squashfs-tools"), ["pkg:deb/debian/squashfs-tools@1:4.5.1-1?arch=amd64"]);
  assert.deepEqual(locators("libstdc++6"), [
    "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&upstream=gcc-12",
  ]);
  const licences = ["davit", "@scope/one", "two", "deno", "squashfs-tools", "libodd~1"].map((name) =>
    byName(name).licenseDeclared
  );
  assert.deepEqual(licences, [
    "Apache-2.0",
    "(MIT OR Apache-2.0)",
    "NOASSERTION",
    "MIT",
    "GPL-2.0-or-later",
    "NOASSERTION",
  ]);

  const arrows = (from: string, type: string) =>
    relationships.filter((each) => each.spdxElementId === `SPDXRef-${from}` && each.relationshipType === type)
      .map((each) => each.relatedSpdxElement.replace("SPDXRef-", ""));
  const files = FACTS.artefacts.map(({ name }) => `file-${name.replace("_", "-")}`);
  assert.deepEqual(arrows("DOCUMENT", "DESCRIBES"), ["davit", ...files]);
  const [one, two, three] = ["-40-scope-2f-one", "two", "three"].map((name) => `npm-${name}-1.0.0-rc.1-2b-x`);
  assert.deepEqual(arrows("davit", "DEPENDS_ON"), [one]);
  assert.deepEqual(arrows(one!, "DEPENDS_ON"), [two]);
  assert.deepEqual(arrows(three!, "DEV_DEPENDENCY_OF"), ["davit"]);
  assert.match(byName("three").comment!, /no file of the release contains it/);
  // `deno compile` embeds its own runtime and the graph; the portable file carries Debian's files too.
  assert.deepEqual(arrows(files[0]!, "CONTAINS"), ["davit", one, two, "deno-2.9.6"]);
  const libc = "deb-libc6-2.36-9-2b-deb12u14-arm64";
  assert.ok(arrows(files[2]!, "CONTAINS").includes(libc));
  assert.deepEqual(arrows(libc, "CONTAINS"), ["part-aarch64-davit", "part-aarch64-libc.so.6"]);
  assert.deepEqual(arrows("davit", "CONTAINS"), ["part-x86-64-main.js", "part-aarch64-main.js"]);
});

Deno.test("makeSbom() makes equal documents of equal facts, under a name of their own", async () => {
  const [first, again] = [await makeSbom(FACTS), await makeSbom(structuredClone(FACTS))];
  assert.equal(JSON.stringify(first), JSON.stringify(again));
  assert.match(
    first.documentNamespace,
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  const other = await makeSbom({ ...FACTS, epoch: FACTS.epoch + 1 });
  assert.notEqual(other.documentNamespace, first.documentNamespace);
});

Deno.test("makeSbom() refuses two different things under one id", async () => {
  const npm = [npmPackage("a+b", "dev"), { ...npmPackage("a-2b-b", "dev") }];
  await assert.rejects(makeSbom({ ...FACTS, npm }), /Cannot list "a-2b-b" .*means something else/);
});

Deno.test("makeSbom() names no registry's host", async () => {
  assert.doesNotMatch(JSON.stringify(await makeSbom(FACTS)), /https?:|\.org|\.com|\.dev/);
});
