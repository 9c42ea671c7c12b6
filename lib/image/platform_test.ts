import assert from "node:assert/strict";
import fc from "fast-check";
import { Failure } from "../failure.ts";
import { chooseEntry, formatPlatform, hostPlatform, type IndexEntry, parsePlatform } from "./platform.ts";

Deno.test("parsePlatform() reads Go's and uname's names", () => {
  const cases: [string, string][] = [
    ["linux/amd64", "linux/amd64"],
    ["linux/arm64/v8", "linux/arm64"],
    ["linux/amd64/v1", "linux/amd64"],
    ["linux/amd64/v3", "linux/amd64/v3"],
    ["Linux/X86_64", "linux/amd64"],
    ["x86_64", "linux/amd64"],
    ["aarch64", "linux/arm64"],
    ["arm64/v9", "linux/arm64/v9"],
    ["ppc64le", "linux/ppc64le"],
    ["armv7l", "linux/arm"],
  ];
  for (const [text, expected] of cases) assert.equal(formatPlatform(parsePlatform(text)), expected);
});

Deno.test("parsePlatform() refuses the rest", () => {
  for (const text of ["", "/", "linux/", "windows/amd64", "linux/a/b/c", "linux/arm 64", "a\u001b"]) {
    assert.throws(() => parsePlatform(text), { name: "Failure", code: "bad_platform" }, text);
  }
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    try {
      parsePlatform(text);
    } catch (error) {
      assert(error instanceof Failure);
    }
  }));
});

Deno.test("hostPlatform() uses Go's names", () => {
  assert.deepEqual(hostPlatform("aarch64"), { os: "linux", architecture: "arm64" });
  assert.deepEqual(hostPlatform("x86_64"), { os: "linux", architecture: "amd64" });
});

function entry(platform: string | undefined): IndexEntry {
  const [os = "", architecture = "", variant] = platform?.split("/") ?? [];
  const named = platform === undefined ? {} : { platform: { os, architecture, variant } };
  return { mediaType: "m", digest: `${platform}`, sizeBytes: 1, ...named };
}

Deno.test("chooseEntry() prefers the exact variant, then none", async (t) => {
  const cases: [string, (string | undefined)[], string][] = [
    ["linux/amd64", ["linux/arm64", "linux/amd64/v3", "linux/amd64"], "linux/amd64"],
    ["linux/arm64", ["linux/arm64/v9", "linux/arm64/v8"], "linux/arm64/v8"],
    ["linux/arm64/v8", ["linux/arm64"], "linux/arm64"],
    ["linux/arm64/v9", ["linux/arm64", "linux/arm64/v9"], "linux/arm64/v9"],
    ["linux/arm/v6", ["linux/arm/v7", "linux/arm/v6"], "linux/arm/v6"],
    ["linux/arm", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"],
    ["linux/amd64", ["unknown/unknown", undefined], "undefined"],
    ["linux/amd64", [undefined, "linux/amd64"], "linux/amd64"],
  ];
  for (const [wanted, offered, expected] of cases) {
    await t.step(`${wanted} of ${offered}`, () => {
      assert.equal(chooseEntry(offered.map(entry), parsePlatform(wanted), "r").digest, expected);
    });
  }
});

Deno.test("chooseEntry() lists what there is when nothing fits", () => {
  const offered = ["linux/amd64", "linux/s390x", "unknown/unknown", "linux/evil\u001b[0m"].map(entry);
  assert.throws(() => chooseEntry(offered, parsePlatform("arm64"), "r/x:1"), {
    code: "wrong_architecture",
    message:
      'Cannot use image "r/x:1": it offers linux/amd64, linux/s390x, linux/evil\\u001b[0m, wanted linux/arm64',
  });
  for (const none of [["linux/amd64/v3"], [undefined, undefined], [], ["linux/arm/v7"]]) {
    assert.throws(() => chooseEntry(none.map(entry), parsePlatform("amd64"), "r"), {
      code: "wrong_architecture",
    });
  }
});
