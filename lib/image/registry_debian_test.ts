import assert from "node:assert/strict";
import { digestOf, type MadeImage, makeImage, makeIndex, tarOf } from "../../testdata/make_image.ts";
import { needs } from "../../testdata/needs.ts";
import { testOptions } from "../../testdata/registry_options.ts";
import { tempDir } from "../../testdata/temp.ts";
import { cachePath, fetchLayers } from "./layer_cache.ts";
import { parsePlatform } from "./platform.ts";
import { parseReference } from "./reference.ts";
import { openRegistry } from "./registry.ts";

/** Debian's docker-registry on a free port, storing below `path`. */
async function startDebianRegistry(path: string): Promise<AsyncDisposable & { host: string }> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const host = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
  listener.close();
  const config = { version: 0.1, storage: { filesystem: { rootdirectory: path } }, http: { addr: host } };
  await Deno.writeTextFile(`${path}/config.yml`, JSON.stringify(config));
  const child = new Deno.Command("docker-registry", {
    args: ["serve", `${path}/config.yml`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  for (let tries = 0;; tries++) {
    try {
      await (await fetch(`http://${host}/v2/`)).body?.cancel();
      break;
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return {
    host,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
    },
  };
}

/** Writes an image as an OCI layout with the tag "1". */
async function writeLayout(path: string, { blobs, digest, mediaType }: MadeImage): Promise<void> {
  await Deno.mkdir(`${path}/blobs/sha256`, { recursive: true });
  for (const [key, bytes] of blobs) await Deno.writeFile(`${path}/blobs/sha256/${key.slice(7)}`, bytes);
  const annotations = { "org.opencontainers.image.ref.name": "1" };
  const manifests = [{ mediaType, digest, size: blobs.get(digest)!.length, annotations }];
  await Deno.writeTextFile(`${path}/index.json`, JSON.stringify({ schemaVersion: 2, manifests }));
  await Deno.writeTextFile(`${path}/oci-layout`, JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}

async function skopeo(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("skopeo", {
    args: ["copy", "--quiet", "--dest-tls-verify=false", "--insecure-policy", ...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
}

Deno.test({
  ...needs({ programs: ["docker-registry", "skopeo"] }),
  name: "openRegistry() pulls OCI, Docker and index images from Debian's docker-registry",
  async fn(t) {
    await using dir = await tempDir("registry");
    await using registry = await startDebianRegistry(dir.path);
    const image = makeImage([
      tarOf({ "a": "one" }),
      tarOf({ "b": crypto.getRandomValues(new Uint8Array(60_000)) }),
    ]);
    const arm = makeImage([tarOf({ "a": "arm" })], { architecture: "arm64" });
    const index = makeIndex({ "linux/amd64": image, "linux/arm64/v8": arm });
    await writeLayout(dir.join("layout"), image);
    await writeLayout(dir.join("index"), index);
    await skopeo(`oci:${dir.join("layout")}:1`, `docker://${registry.host}/a/oci:1`);
    await skopeo("--format", "v2s2", `oci:${dir.join("layout")}:1`, `docker://${registry.host}/a/docker:1`);
    await skopeo("--all", `oci:${dir.join("index")}:1`, `docker://${registry.host}/a/index:1`);

    for (
      const [name, wanted, expected] of [
        ["a/oci", "amd64", image],
        ["a/docker", "amd64", image],
        ["a/index", "amd64", image],
        ["a/index", "arm64", arm],
      ] as const
    ) {
      await t.step(`${name} for ${wanted}`, async () => {
        const options = testOptions();
        using client = await openRegistry(parseReference(`${registry.host}#${name}:1`), options);
        const found = await client.resolve(parsePlatform(wanted));
        assert.deepEqual(
          found.layers.map(({ digest }) => digest),
          expected.layers.map(({ digest }) => digest),
        );
        assert.equal(await client.currentDigest(), found.referenceDigest);
        const cacheDir = dir.join(`cache-${name.replace("/", "-")}-${wanted}`);
        await fetchLayers(found.layers, { ...options, open: client.openBlob, cacheDir });
        for (const { digest } of found.layers) {
          assert.equal(digestOf(await Deno.readFile(cachePath(cacheDir, digest))), digest);
        }
        const half = await client.openBlob(found.layers[0]!, 5, { signal: options.signal, isFresh: true });
        assert.equal(half.firstByte, 5);
        await half.chunks.return();
      });
    }
    await t.step("what is not there", async () => {
      using client = await openRegistry(parseReference(`${registry.host}#a/none:1`), testOptions());
      await assert.rejects(client.resolve(parsePlatform("amd64")), { code: "registry_not_found" });
    });
  },
});
