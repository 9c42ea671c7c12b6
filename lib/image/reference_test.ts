import assert from "node:assert/strict";
import fc from "fast-check";
import { EXIT, Failure } from "../failure.ts";
import { DOCKER_HUB, formatReference, imageFileName, parseReference, type Reference } from "./reference.ts";

const HEX = "0123456789abcdef".repeat(4);

Deno.test("parseReference() reads every spelling", async (t) => {
  const cases: [string, Reference][] = [
    ["ubuntu", { registry: DOCKER_HUB, repository: "library/ubuntu", tag: "latest" }],
    ["docker://ubuntu:", { registry: DOCKER_HUB, repository: "library/ubuntu", tag: "latest" }],
    ["docker://a/b:1.2", { registry: DOCKER_HUB, repository: "a/b", tag: "1.2" }],
    ["docker.io/ubuntu:24.04", { registry: DOCKER_HUB, repository: "library/ubuntu", tag: "24.04" }],
    ["index.docker.io#a/b", { registry: DOCKER_HUB, repository: "a/b", tag: "latest" }],
    ["docker://nvcr.io#nvidia/pytorch:25.01-py3", {
      registry: "nvcr.io",
      repository: "nvidia/pytorch",
      tag: "25.01-py3",
    }],
    ["nvcr.io/nvidia/pytorch:25.01-py3", {
      registry: "nvcr.io",
      repository: "nvidia/pytorch",
      tag: "25.01-py3",
    }],
    ["docker://$oauthtoken@nvcr.io#a/b", {
      user: "$oauthtoken",
      registry: "nvcr.io",
      repository: "a/b",
      tag: "latest",
    }],
    ["docker://me@x.org@GHCR.io/a/b", {
      user: "me@x.org",
      registry: "ghcr.io",
      repository: "a/b",
      tag: "latest",
    }],
    ["me@ubuntu", { user: "me", registry: DOCKER_HUB, repository: "library/ubuntu", tag: "latest" }],
    ["localhost/a", { registry: "localhost", repository: "a", tag: "latest" }],
    ["mirror#a", { registry: "mirror", repository: "a", tag: "latest" }],
    ["[::1]:5000/a:b", { registry: "[::1]:5000", repository: "a", tag: "b" }],
    [`ubuntu@sha256:${HEX}`, { registry: DOCKER_HUB, repository: "library/ubuntu", digest: `sha256:${HEX}` }],
    [`r.io#a/b:1@sha256:${HEX}`, { registry: "r.io", repository: "a/b", tag: "1", digest: `sha256:${HEX}` }],
    [`docker://r.io#a/b:sha256:${HEX}`, { registry: "r.io", repository: "a/b", digest: `sha256:${HEX}` }],
    [`r.io:5000/a/b:@sha256:${HEX}`, { registry: "r.io:5000", repository: "a/b", digest: `sha256:${HEX}` }],
  ];
  for (const [text, expected] of cases) {
    await t.step(text.slice(0, 40), () => assert.deepEqual(parseReference(text), expected));
  }
});

Deno.test("parseReference() points at the bad character", async (t) => {
  const cases: [string, number][] = [
    ["", 1],
    ["docker://", 10],
    ["dockerd://ubuntu", 1],
    ["podman://ubuntu", 1],
    ["https://ubuntu", 1],
    ["docker://nvcr.io#NVIDIA/x", 18],
    ["nvcr.io/a//b", 11],
    ["nvcr.io/a/../b", 11],
    ["a/b:t g", 6],
    ["a:b:c", 4],
    ["a b", 2],
    ["ab\u001b[31m", 3],
    ["r.io:99999/a", 1],
    ["r!.io/a", 2],
    ["@r.io/a", 1],
    ["r.io/a@b", 7],
    ["r.io/a:-x", 8],
    ["ubuntu@sha256:12", 17],
    [`ubuntu@sha256:${HEX.slice(1)}G`, 78],
    [`ubuntu@sha256:${HEX}0`, 79],
    [`ubuntu@sha512:${HEX}`, 8],
    ["\u{1f600}", 1],
    [`a:${"x".repeat(129)}`, 131],
    [`r.io/${"x".repeat(256)}`, 261],
  ];
  for (const [text, position] of cases) {
    await t.step(JSON.stringify(text).slice(0, 40), () => {
      assert.throws(() => parseReference(text), (error) => {
        assert(error instanceof Failure);
        assert.equal(error.exitStatus, EXIT.USAGE);
        assert.equal(error.code, "bad_reference");
        assert.match(error.message, new RegExp(`at character ${position}$`));
        const [, shown, caret] = error.hint!.split("\n");
        assert(shown!.startsWith("  ") && /^ {2} *\^$/.test(caret!));
        return true;
      });
    });
  }
});

Deno.test("parseReference() shows the place under the text, with control characters escaped", () => {
  assert.throws(() => parseReference("a\tB"), (error) => {
    assert(error instanceof Failure);
    assert.match(error.hint!, /\n {2}a\\tB\n {3}\^$/);
    return true;
  });
});

Deno.test("parseReference() refuses a password without repeating it", () => {
  assert.throws(() => parseReference("docker://me:hunter2@r.io/a"), (error) => {
    assert(error instanceof Failure);
    assert.equal(error.code, "bad_reference");
    assert.match(error.message, /at character 12$/);
    assert(!`${error.message}${error.hint}`.includes("hunter2"));
    return true;
  });
});

const words = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,2}$/);
const reference: fc.Arbitrary<Reference> = fc.record({
  user: fc.option(fc.stringMatching(/^[$a-zA-Z0-9@._-]{1,12}$/), { nil: undefined }),
  registry: fc.constantFrom(
    DOCKER_HUB,
    "nvcr.io",
    "localhost",
    "mirror",
    "a.b:5000",
    "[fe80::1]",
    "[::1]:443",
  ),
  path: fc.array(words, { minLength: 2, maxLength: 4 }),
  tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/), { nil: undefined }),
  digest: fc.option(fc.stringMatching(/^sha256:[0-9a-f]{64}$/), { nil: undefined }),
}).filter(({ tag, digest }) => tag !== undefined || digest !== undefined).map((
  { user, registry, path, tag, digest },
) => ({
  ...(user && { user }),
  registry,
  repository: path.join("/"),
  ...(tag && { tag }),
  ...(digest && { digest }),
}));

Deno.test("parseReference() undoes formatReference()", () => {
  fc.assert(
    fc.property(reference, (value) => assert.deepEqual(parseReference(formatReference(value)), value)),
  );
});

Deno.test("parseReference() returns or throws a Failure without raw control characters, whatever the text", () => {
  const pieces = fc.constantFrom(
    "docker://",
    "@",
    "#",
    "/",
    ":",
    "sha256:",
    HEX,
    "a",
    "A",
    ".",
    "\u001b",
    "\r",
    "é",
  );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(text, (value) => {
      try {
        const parsed = parseReference(value);
        assert.deepEqual(parseReference(formatReference(parsed)), parsed);
      } catch (error) {
        assert(error instanceof Failure, String(error));
        const text = `${error.message}${error.hint?.replaceAll("\n", "")}`;
        // deno-lint-ignore no-control-regex -- the thing under test
        assert.doesNotMatch(text, /[\u0000-\u001f\u007f-\u009f]/);
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("imageFileName() is the launchers' rule", () => {
  assert.equal(imageFileName("docker://nvcr.io#a/b:1"), "nvcr.io_a_b_1.sqsh");
  assert.equal(imageFileName("lmsysorg/sglang:v0.5@sha256:ab"), "lmsysorg_sglang_v0.5_sha256_ab.sqsh");
});
