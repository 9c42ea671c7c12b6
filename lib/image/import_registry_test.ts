import assert from "node:assert/strict";
import { namesIn } from "../../testdata/import_stage.ts";
import { type KnobRegistry, type Knobs, startKnobRegistry } from "../../testdata/knob_registry.ts";
import { makeImage, tarOf } from "../../testdata/make_image.ts";
import { needs } from "../../testdata/needs.ts";
import { type RunOptions, type RunResult, startDavit } from "../../testdata/run.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";
import type { ImportResult } from "./import.ts";

const packed = needs({ programs: ["sqfstar", "unsquashfs"] });
const IMAGE = makeImage([
  tarOf({ "a.txt": crypto.getRandomValues(new Uint8Array(60_000)) }),
  tarOf({ "b.txt": "b" }),
]);

interface Place extends AsyncDisposable {
  readonly dir: TempDir;
  readonly registry: KnobRegistry;
  readonly output: string;
  args(...more: string[]): string[];
  run(args?: readonly string[], options?: RunOptions): Promise<RunResult>;
}

async function place(knobs: Knobs = {}): Promise<Place> {
  const dir = await tempDir("registry");
  const registry = await startKnobRegistry({ knobs });
  registry.add("a/b", "1", IMAGE);
  const output = dir.join("x.sqsh");
  const args = (...more: string[]) => [
    ...["import", `${registry.host}/a/b:1`, "-o", output, "--cache-dir", dir.join("cache"), "--json"],
    ...["--allow-http", registry.host, ...more],
  ];
  return {
    dir,
    registry,
    output,
    args,
    run: (given = args(), options = {}) => startDavit(given, { timeoutMs: 120_000, ...options }).done,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

Deno.test({
  name: "image import: faults of a registry that pass cost time, not the job",
  ...packed,
  async fn(t) {
    const rows: [string, Knobs][] = [
      ["429 with Retry-After", { failNext: { times: 2, status: 429, headers: { "retry-after": "1" } } }],
      ["503 every fourth time", { failEvery: { n: 4, status: 503 } }],
      ["cut in the middle of a blob", { cutAt: { byte: 20_000, times: 2 } }],
      ["cut, and no ranges", { cutAt: { byte: 20_000, times: 1 }, ignoreRange: true }],
      ["stalled in the middle of a blob", { stallAt: { byte: 20_000, times: 1 } }],
      ["never answered", { silent: { times: 1 } }],
      ["wrong bytes once", { spoil: { times: 1 } }],
      ["bearer tokens that expire", { auth: { kind: "bearer" }, tokenUses: 2 }],
    ];
    for (const [name, knobs] of rows) {
      await t.step(name, async () => {
        await using at = await place(knobs);
        const ended = await at.run(at.args("--stall-timeout", "1s"));
        assert.equal(ended.code, 0, ended.stderr);
        assert.equal((JSON.parse(ended.stdout) as ImportResult).result, "imported");
      });
    }
  },
});

Deno.test({
  name: "image import: faults that stay have their exit status and their code, and leave nothing",
  ...packed,
  async fn(t) {
    const rows: [string, Knobs, number, string][] = [
      ["404", { failNext: { times: 99, status: 404 } }, 66, "registry_not_found"],
      ["403", { failNext: { times: 99, status: 403 } }, 77, "registry_denied"],
      [
        "401 and no credentials",
        { auth: { kind: "basic", users: ["u:secret-word"] } },
        77,
        "registry_denied",
      ],
      ["503 for ever", { failNext: { times: 99, status: 503 } }, 75, "registry_transient"],
      ["wrong bytes for ever", { spoil: { times: 99 } }, 65, "digest_mismatch"],
      ["a huge manifest", { padManifests: 5 << 20 }, 76, "registry_protocol"],
    ];
    for (const [name, knobs, code, word] of rows) {
      await t.step(name, async () => {
        await using at = await place(knobs);
        const ended = await at.run(at.args("--retries", "0"));
        assert.equal(ended.code, code, ended.stderr);
        assert.equal(JSON.parse(ended.stderr.trim().split("\n").at(-1)!).error.code, word);
        assert.ok(!ended.stderr.includes("secret-word"));
        assert.deepEqual(
          (await namesIn(at.dir.path)).filter((file) => !["cache", "x.sqsh.lock"].includes(file)),
          [],
        );
      });
    }
    await t.step("nobody listens", async () => {
      await using at = await place();
      await at.registry[Symbol.asyncDispose]();
      const ended = await at.run(at.args("--retries", "0"));
      assert.equal(ended.code, 69, ended.stderr);
      assert.match(ended.stderr, /"code":"registry_unreachable"/);
    });
    await t.step("another architecture", async () => {
      await using at = await place();
      const ended = await at.run(at.args("--platform", "linux/s390x"));
      assert.equal(ended.code, 65, ended.stderr);
      assert.match(ended.stderr, /"code":"wrong_architecture"/);
    });
    await t.step("plain HTTP that was not allowed", async () => {
      await using at = await place();
      const args = at.args("--retries", "0").filter((word) =>
        word !== "--allow-http" && word !== at.registry.host
      );
      const ended = await at.run(args);
      assert.equal(ended.code, 69, ended.stderr);
      assert.match(ended.stderr, /--allow-http/);
    });
  },
});

Deno.test({
  name: "image import: a token does not follow a redirect to another origin",
  ...packed,
  async fn() {
    await using elsewhere = await startKnobRegistry();
    elsewhere.add("a/b", "1", IMAGE);
    await using at = await place({
      auth: { kind: "basic", users: ["u:secret-word"] },
      redirectBlobs: `${elsewhere.origin}/v2/a/b/blobs/`,
    });
    await Deno.writeTextFile(at.dir.join("netrc"), `machine 127.0.0.1 login u password secret-word\n`, {
      mode: 0o600,
    });
    const args = at.args("--allow-http", elsewhere.host);
    const ended = await at.run(args, { env: { NETRC: at.dir.join("netrc") } });
    assert.equal(ended.code, 0, ended.stderr);
    assert.ok(elsewhere.seen.length > 0);
    assert.ok(elsewhere.seen.every(({ headers }) => headers.authorization === undefined));
    assert.ok(!(ended.stderr + ended.stdout).includes("secret-word"));
  },
});

Deno.test({
  name: "image import: a holder that waits for its registry is not taken for one that stands still",
  ...packed,
  async fn() {
    await using at = await place({ failNext: { times: 1, status: 429, headers: { "retry-after": "8" } } });
    const holder = at.run();
    for (
      let round = 0;
      round < 500 && !(await namesIn(at.dir.path)).includes(".x.sqsh.lock.holder");
      round++
    ) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const waiter = await at.run(at.args("--lock-timeout", "5s"));
    assert.equal(waiter.code, 0, waiter.stderr);
    assert.equal((JSON.parse(waiter.stdout) as ImportResult).result, "waited");
    assert.equal((await holder).code, 0);
  },
});
