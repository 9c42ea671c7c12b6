import assert from "node:assert/strict";
import { type KnobRegistry, type Knobs, startKnobRegistry } from "../../testdata/knob_registry.ts";
import { digestOf, makeImage, makeIndex, tarOf } from "../../testdata/make_image.ts";
import { testOptions } from "../../testdata/registry_options.ts";
import { tempDir } from "../../testdata/temp.ts";
import { EXIT, Failure } from "../failure.ts";
import { parsePlatform } from "./platform.ts";
import { parseReference } from "./reference.ts";
import { openRegistry, type RegistryOptions, type Resolution } from "./registry.ts";

const AMD64 = parsePlatform("linux/amd64");
const SECRET = "s3cr3t";
const image = makeImage([tarOf({ "a": "one" }), tarOf({ "b": "two" })], { config: { Env: ["A=b"] } });

async function start(knobs: Knobs = {}): Promise<KnobRegistry> {
  const registry = await startKnobRegistry({ knobs });
  registry.add("team/app", "1", image);
  return registry;
}

async function resolve(
  registry: KnobRegistry,
  over: Partial<RegistryOptions> = {},
  { rest = "team/app:1", platform = AMD64, user = "" } = {},
): Promise<Resolution> {
  using client = await openRegistry(parseReference(`${user}${registry.host}/${rest}`), testOptions(over));
  return await client.resolve(platform);
}

/** Rejects with a Failure of this exit and code whose text matches and never holds the secret. */
async function assertFails(
  work: Promise<unknown>,
  exit: keyof typeof EXIT,
  code: string,
  text: RegExp,
): Promise<void> {
  await assert.rejects(work, (error) => {
    assert(error instanceof Failure, `${error}\n${(error as Error).stack}`);
    const said = `${error.message}\nhint: ${error.hint}`;
    assert.match(said, text);
    assert.deepEqual([error.exitStatus, error.code], [EXIT[exit], code], said);
    assert(!said.includes(SECRET));
    return true;
  });
}

async function home(password = SECRET): Promise<AsyncDisposable & { env: Record<string, string> }> {
  const dir = await tempDir("home");
  await Deno.writeTextFile(dir.join(".netrc"), `machine 127.0.0.1 login me password ${password}\n`, {
    mode: 0o600,
  });
  return { env: { HOME: dir.path }, [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() };
}

Deno.test("resolve() finds an image with two requests", async () => {
  await using registry = await start();
  const { digest, referenceDigest, config, layers } = await resolve(registry);
  assert.deepEqual([digest, referenceDigest], [image.digest, image.digest]);
  assert.deepEqual(layers.map(({ sizeBytes }) => sizeBytes), image.layers.map(({ size }) => size));
  assert.deepEqual(config.env, ["A=b"]);
  assert.equal(registry.seen.length, 2);
});

Deno.test("resolve() goes by digest, also when the tag says something else", async () => {
  await using registry = await start();
  const other = makeImage([tarOf({ "c": "three" })]);
  registry.add("team/app", "2", other);
  const found = await resolve(registry, {}, { rest: `team/app:2@${image.digest}` });
  assert.equal(found.digest, image.digest);
  assert(registry.seen[0]!.path.endsWith(image.digest));
});

Deno.test("resolve() chooses from an index and refuses the wrong architecture", async () => {
  await using registry = await start();
  const arm = makeImage([tarOf({ "a": "arm" })], { architecture: "arm64" });
  const index = makeIndex({ "linux/arm64/v8": arm, "linux/amd64": image });
  registry.add("team/app", "multi", index);
  const found = await resolve(registry, {}, { rest: "team/app:multi", platform: parsePlatform("aarch64") });
  assert.deepEqual([found.digest, found.referenceDigest], [arm.digest, index.digest]);
  await assertFails(
    resolve(registry, {}, { rest: "team/app:multi", platform: parsePlatform("s390x") }),
    "DATAERR",
    "wrong_architecture",
    /offers linux\/arm64\/v8, linux\/amd64, wanted linux\/s390x/,
  );
  registry.add("team/app", "arm", arm);
  await assertFails(
    resolve(registry, {}, { rest: "team/app:arm" }),
    "DATAERR",
    "wrong_architecture",
    /offers linux\/arm64, wanted linux\/amd64\nhint: --platform/,
  );
  const nested = makeIndex({ "linux/amd64": index });
  registry.add("team/app", "nested", nested);
  await assertFails(
    resolve(registry, {}, { rest: "team/app:nested" }),
    "DATAERR",
    "unsupported_image",
    /another index/,
  );
});

Deno.test("resolve() retries what may pass and counts its tries", async (t) => {
  await using registry = await start();
  for (const status of [408, 429, 500, 502, 503]) {
    await t.step(`${status}`, async () => {
      registry.knobs.failNext = { times: 2, status };
      assert.equal((await resolve(registry)).digest, image.digest);
    });
  }
  await t.step("for ever", async () => {
    registry.knobs.failNext = { times: Infinity, status: 503, body: SECRET };
    await assertFails(resolve(registry), "TEMPFAIL", "registry_transient", /answered 503 \(after 4 tries\)/);
    await assertFails(resolve(registry, { retries: 0 }), "TEMPFAIL", "registry_transient", /after 1 try/);
  });
  await t.step("silence", async () => {
    registry.knobs.failNext = { times: 0, status: 0 };
    registry.knobs.silent = { times: 1 };
    assert.equal((await resolve(registry, { stallTimeoutMs: 50 })).digest, image.digest);
    registry.knobs.silent = { times: Infinity };
    await assertFails(
      resolve(registry, { stallTimeoutMs: 50, retries: 1 }),
      "TEMPFAIL",
      "registry_transient",
      /sent nothing for 0\.1 s/,
    );
  });
});

Deno.test("resolve() waits as long as Retry-After says, and gives up when that is too long", async () => {
  await using registry = await start();
  registry.knobs.failNext = { times: 1, status: 429, headers: { "retry-after": "1" } };
  const begun = performance.now();
  await resolve(registry);
  assert(performance.now() - begun >= 1000);
  registry.knobs.failNext = { times: 1, status: 429, headers: { "retry-after": "3600" } };
  await assertFails(
    resolve(registry),
    "TEMPFAIL",
    "registry_transient",
    /429 \(after 1 try, asked to come back in 1 h\)/,
  );
});

Deno.test("resolve() does not retry what stays wrong", async (t) => {
  await using registry = await start();
  const cases: [number, keyof typeof EXIT, string][] = [
    [400, "PROTOCOL", "registry_protocol"],
    [403, "NOPERM", "registry_denied"],
    [404, "NOINPUT", "registry_not_found"],
  ];
  for (const [status, exit, code] of cases) {
    await t.step(`${status}`, async () => {
      registry.seen.length = 0;
      registry.knobs.failNext = { times: 1, status };
      await assertFails(resolve(registry), exit, code, /team\/app:1/);
      assert.equal(registry.seen.length, 1);
    });
  }
});

Deno.test("resolve() names a registry that cannot be reached", async () => {
  const gone = await start();
  await gone[Symbol.asyncDispose]();
  await assertFails(
    resolve(gone, { retries: 1 }),
    "UNAVAILABLE",
    "registry_unreachable",
    /refused.*after 2 tries/,
  );
  using client = await openRegistry(parseReference("no-such-host.invalid/a"), testOptions());
  await assertFails(client.resolve(AMD64), "UNAVAILABLE", "registry_unreachable", /no-such-host\.invalid/);
});

Deno.test("resolve() refuses damaged, huge and foreign documents", async (t) => {
  await using registry = await start();
  await t.step("one damaged answer is fetched again", async () => {
    registry.knobs.spoil = { times: 1 };
    assert.equal((await resolve(registry)).digest, image.digest);
  });
  await t.step("two are too many", async () => {
    registry.knobs.spoil = { times: Infinity };
    await assertFails(resolve(registry), "DATAERR", "digest_mismatch", /team\/app:1/);
    delete registry.knobs.spoil;
  });
  await t.step("huge manifest", async () => {
    registry.knobs.padManifests = 5_000_000;
    await assertFails(resolve(registry), "PROTOCOL", "registry_protocol", /larger than 4\.19 MB/);
    delete registry.knobs.padManifests;
  });
  await t.step("a login page", async () => {
    registry.knobs.failNext = {
      times: 1,
      status: 200,
      headers: { "content-type": "text/html" },
      body: "<html>",
    };
    await assertFails(resolve(registry), "PROTOCOL", "registry_protocol", /no JSON/);
  });
});

Deno.test("resolve() gets bearer tokens", async (t) => {
  await using me = await home();
  await using registry = await start();
  await t.step("without a name", async () => {
    registry.knobs.auth = { kind: "bearer" };
    await resolve(registry);
    const paths = registry.seen.map(({ path }) => path);
    assert.equal(paths.filter((path) => path.startsWith("/token")).length, 1);
    assert(paths.some((path) => path.includes("service=knobs&scope=repository%3Ateam%2Fapp%3Apull")));
  });
  await t.step("with a name", async () => {
    registry.knobs.auth = { kind: "bearer", users: [`me:${SECRET}`] };
    await resolve(registry, { env: me.env });
    await resolve(registry, { env: me.env }, { user: "me@" });
    await assertFails(
      resolve(registry, { env: me.env }, { user: "you@" }),
      "NOPERM",
      "registry_denied",
      /gives no token\nhint: no credentials were found/,
    );
  });
  await t.step("with a wrong password", async () => {
    await using wrong = await home("wrong");
    await assertFails(
      resolve(registry, { env: wrong.env }),
      "NOPERM",
      "registry_denied",
      /gives no token\nhint: the credentials in ".*netrc" are not enough/,
    );
  });
  await t.step("renewed when the registry forgets them", async () => {
    registry.knobs.tokenUses = 1;
    registry.seen.length = 0;
    await resolve(registry, { env: me.env });
    assert.equal(registry.seen.filter(({ path }) => path.startsWith("/token")).length, 2);
    registry.knobs.tokenUses = 0;
    await assertFails(resolve(registry, { env: me.env }), "NOPERM", "registry_denied", /answered 401/);
    delete registry.knobs.tokenUses;
  });
  await t.step("renewed before they end", async () => {
    registry.knobs.expiresIn = 1e-6;
    registry.seen.length = 0;
    await resolve(registry, { env: me.env });
    const count = (part: string) => registry.seen.filter(({ path }) => path.includes(part)).length;
    assert.equal(count("/manifests/"), 2);
    assert.equal(count("/blobs/"), 1, "the blob was asked for with an old token");
    assert(count("/token") >= 2);
  });
  await t.step("with an identity token", async () => {
    await using dir = await tempDir("home");
    const auths = { [registry.host]: { identitytoken: SECRET } };
    await Deno.writeTextFile(dir.join("config.json"), JSON.stringify({ auths }), { mode: 0o600 });
    registry.knobs.auth = { kind: "bearer", refreshToken: SECRET };
    delete registry.knobs.expiresIn;
    registry.seen.length = 0;
    await resolve(registry, { env: { DOCKER_CONFIG: dir.path } });
    assert.equal(registry.seen.filter(({ method }) => method === "POST").length, 1);
    assert(registry.seen.every(({ path }) => !path.includes(SECRET)));
  });
});

Deno.test("resolve() sends basic credentials where they are wanted", async () => {
  await using me = await home();
  await using registry = await start({ auth: { kind: "basic", users: [`me:${SECRET}`] } });
  await resolve(registry, { env: me.env });
  await assertFails(resolve(registry), "NOPERM", "registry_denied", /wants a name and a password/);
});

Deno.test("resolve() gives no credentials to a realm without TLS, nor to a strange address", async () => {
  await using me = await home();
  await using registry = await start({ auth: { kind: "bearer" }, realm: "http://evil.example/token" });
  await assertFails(
    resolve(registry, { env: me.env }),
    "PROTOCOL",
    "registry_protocol",
    /"evil\.example" would be spoken to without TLS/,
  );
  registry.knobs.realm = "file:///etc/passwd";
  await assertFails(resolve(registry, { env: me.env }), "PROTOCOL", "registry_protocol", /no usable http/);
});

Deno.test("currentDigest() asks once and knows when the registry does not say", async () => {
  await using registry = await start();
  const options = testOptions();
  using client = await openRegistry(parseReference(`${registry.host}/team/app:1`), options);
  assert.equal(await client.currentDigest(), image.digest);
  assert.deepEqual(registry.seen.map(({ method }) => method), ["HEAD"]);
  registry.knobs.failNext = { times: 1, status: 406 };
  assert.equal(await client.currentDigest(), undefined);
  registry.knobs.hideDigest = true;
  assert.equal(await client.currentDigest(), undefined);
  assert.equal(options.lines.filter((line) => line.includes("does not say")).length, 2);
  using pinned = await openRegistry(parseReference(`${registry.host}/a@${image.digest}`), options);
  registry.seen.length = 0;
  assert.equal(await pinned.currentDigest(), image.digest);
  assert.equal(registry.seen.length, 0);
});

Deno.test("the token does not follow a redirect to another host", async () => {
  await using elsewhere = await start();
  await using registry = await start({ auth: { kind: "bearer" }, redirectBlobs: elsewhere.origin });
  const found = await resolve(registry);
  using client = await openRegistry(parseReference(`${registry.host}/team/app:1`), testOptions());
  await client.resolve(AMD64);
  const { chunks } = await client.openBlob(found.layers[0]!, 0, {
    signal: testOptions().signal,
    isFresh: false,
  });
  const parts = await Array.fromAsync(chunks);
  assert.equal(digestOf(await new Blob(parts as Uint8Array<ArrayBuffer>[]).bytes()), found.layers[0]!.digest);
  assert(elsewhere.seen.length >= 3);
  for (const { headers } of elsewhere.seen) assert.equal(headers.authorization, undefined);
  // Nor may the other host ask for credentials.
  elsewhere.knobs.auth = { kind: "basic", users: [] };
  await using me = await home();
  await assertFails(resolve(registry, { env: me.env }), "NOPERM", "registry_denied", /answered 401/);
  for (const { headers } of elsewhere.seen) assert.equal(headers.authorization, undefined);
});

Deno.test("redirects in a circle and to hosts without TLS end", async () => {
  await using registry = await start();
  registry.knobs.redirectBlobs = registry.origin;
  await assertFails(resolve(registry), "PROTOCOL", "registry_protocol", /more than 5/);
  registry.knobs.redirectBlobs = "http://localhost:1";
  await assertFails(
    resolve(registry),
    "PROTOCOL",
    "registry_protocol",
    /without TLS\nhint: --allow-http localhost:1/,
  );
});

Deno.test("openBlob() goes on in the middle, or says that it cannot", async () => {
  await using registry = await start();
  using client = await openRegistry(parseReference(`${registry.host}/team/app:1`), testOptions());
  const [layer] = (await client.resolve(AMD64)).layers;
  const open = async (from: number) => {
    const { firstByte, chunks } = await client.openBlob(layer!, from, {
      signal: testOptions().signal,
      isFresh: false,
    });
    const sum = (await Array.fromAsync(chunks)).reduce((total, { length }) => total + length, 0);
    return [firstByte, sum];
  };
  const size = layer!.sizeBytes;
  assert.deepEqual(await open(10), [10, size - 10]);
  assert.deepEqual(await open(size), [0, size]);
  registry.knobs.ignoreRange = true;
  assert.deepEqual(await open(10), [0, size]);
});

Deno.test("an abort ends a request at once, with the signal's reason", async () => {
  await using registry = await start({ silent: { times: Infinity } });
  const stop = new AbortController();
  const reason = new Error("enough");
  setTimeout(() => stop.abort(reason), 20);
  await assert.rejects(resolve(registry, { signal: stop.signal }), (error) => error === reason);
});
