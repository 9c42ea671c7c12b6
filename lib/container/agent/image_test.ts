import assert from "node:assert/strict";
import { ENGINE_PROGRAMS, IMAGE } from "../../../testdata/engines.ts";
import { needs } from "../../../testdata/needs.ts";
import { must, startRegistry } from "../../../testdata/real_registry.ts";
import {
  callHandler,
  HOST_PROGRAMS,
  type RuntimeHost,
  startRuntimeHost,
} from "../../../testdata/runtime_host.ts";
import { type TempDir, tempDir } from "../../../testdata/temp.ts";
import { Failure } from "../../failure.ts";
import type { HostMethods } from "../host_methods.ts";
import { hostHandlers } from "./handlers.ts";
import { digestOf } from "./inspect.ts";

const PASSWORD = "s3cret $(x)";
/** Of it, by bcrypt. */
const HTPASSWD = "alice:$2b$04$78PFiOFarYM1MPoLIJuDeuR1AlRlON2R6l97aQL5cfPRmjK5nm/Jy\n";

for (const runtime of ["docker", "podman"] as const) {
  Deno.test({
    ...needs({
      root: true,
      programs: [...ENGINE_PROGRAMS[runtime], ...HOST_PROGRAMS, "docker-registry", "skopeo"],
    }),
    name: `image: pulled after a private login, loaded from a file, or told to be missing (${runtime})`,
    async fn(t) {
      await using dir = await tempDir("image");
      await Deno.writeTextFile(dir.join("htpasswd"), HTPASSWD);
      const auth = `auth: {htpasswd: {realm: test, path: ${dir.join("htpasswd")}}}\n`;
      await using registry = await startRegistry(auth);
      await using host = await startRuntimeHost(runtime);
      await imageSteps(t, host, registry.host, dir);
    },
  });
}

async function imageSteps(
  t: Deno.TestContext,
  host: RuntimeHost,
  server: string,
  dir: TempDir,
): Promise<void> {
  const env = await loggedEnv(host, server, dir);
  await using serving = hostHandlers({ env });
  const image = async (changes: Partial<HostMethods["image"]["params"]>) => {
    const params = { ...host.target, name: "sample", image: IMAGE, pull: "missing" as const };
    return await callHandler(serving, "image", { ...params, ...changes });
  };
  const failsWith = (code: string, message: RegExp) => (error: unknown) => {
    assert.ok(error instanceof Failure && error.code === code, String(error));
    assert.match(error.message, message);
    return true;
  };
  const { result: imported } = await image({});
  await must(["sh", "-c", `exec "$@"`, "sh", ...await saveWords(host, dir.join("saved.tar"))]);
  const reference = `${server}/private/app:1`;
  const goal = ["--dest-tls-verify=false", `--dest-creds=alice:${PASSWORD}`];
  await must([
    "skopeo",
    "copy",
    "-q",
    ...goal,
    `docker-archive:${dir.join("saved.tar")}`,
    `docker://${reference}`,
  ]);
  const raw = ["inspect", "--tls-verify=false", `--creds=alice:${PASSWORD}`, "--format={{.Digest}}"];
  const digest = (await must(["skopeo", ...raw, `docker://${reference}`])).trim();
  await Deno.writeTextFile(dir.join("password"), `${PASSWORD}\n`);
  await Deno.writeTextFile(dir.join("wrong"), "wrong\n");
  const login = { server, username: "alice", passwordFile: dir.join("password") };

  await t.step("what is missing is told, and a refused login, too", async () => {
    await assert.rejects(
      image({ image: reference, pull: "never" }),
      failsWith("image_missing", /switched off/),
    );
    await assert.rejects(image({ image: reference }), failsWith("image_missing", /pull image/));
    const wrong = { ...login, passwordFile: dir.join("wrong") };
    await assert.rejects(
      image({ image: reference, registry: wrong }),
      failsWith("login_failed", /as "alice"/),
    );
    const none = { ...login, passwordFile: dir.join("none") };
    await assert.rejects(
      image({ image: reference, registry: none }),
      failsWith("login_failed", /password file/),
    );
    const absent = `${server}/private/app:none`;
    await assert.rejects(image({ image: absent, registry: login }), failsWith("image_missing", /app:none/));
  });

  // podman lists the digests that one image has from different places under each of its names.
  await host.cli("rmi", "--force", IMAGE);

  await t.step("a pull tells its progress and gives the registry's digest", async () => {
    const { result, told } = await image({ image: reference, registry: login });
    assert.equal(result.digest, digest);
    assert.match(result.id, /^sha256:[0-9a-f]{64}$/);
    assert.ok(told.length > 0);
    for (const message of told) {
      const { kind, line } = message as { kind: string; line: string };
      assert.deepEqual([kind, typeof line], ["pull", "string"]);
    }
    assert.deepEqual((await image({ image: reference, pull: "never" })).result, result, "it is here now");
    assert.deepEqual(
      (await image({ image: `${server}/private/app@${digest}`, pull: "never" })).result,
      result,
    );
    assert.deepEqual((await image({ image: reference, pull: "always", registry: login })).result, result);
  });

  await t.step("the password was in no argv, and nothing of the login is left", async () => {
    const calls = await Deno.readTextFile(dir.join("calls"));
    assert.match(calls, /login .*--username=alice --password-stdin/);
    assert.ok(!calls.includes("s3cret"), calls);
    const directories = new Set(calls.match(/\/[^ ]*\/davit-login-[^ /]+/g));
    assert.ok(directories.size > 0, calls);
    for (const directory of directories) await assert.rejects(Deno.stat(directory), Deno.errors.NotFound);
    const config = await must(["find", env.HOME!, "-name", "config.json", "-o", "-name", "auth.json"]);
    assert.equal(config.trim(), "");
  });

  await t.step("an archive on the host stands in for the registry", async () => {
    assert.equal((await image({ pull: "never", imageTar: dir.join("saved.tar") })).result.id, imported.id);
    await assert.rejects(image({ image: "localhost/other:1", imageTar: dir.join("none.tar") }), (error) => {
      assert.ok(error instanceof Failure && error.exitStatus === 66, String(error));
      return true;
    });
    await assert.rejects(
      image({ image: "localhost/other:1", imageTar: dir.join("saved.tar") }),
      failsWith("image_missing", /not there after loading/),
    );
  });
}

function saveWords(host: RuntimeHost, file: string): Promise<string[]> {
  const format = host.runtime === "podman" ? ["--format=docker-archive"] : [];
  const cli = `${host.env.PATH!.split(":")[0]}/${host.runtime}`;
  return Promise.resolve([cli, "save", ...format, "-o", file, IMAGE]);
}

/** The host's environment with a CLI that writes down how it is called, and a registry without TLS. */
async function loggedEnv(host: RuntimeHost, server: string, dir: TempDir): Promise<Record<string, string>> {
  const cli = `${host.env.PATH!.split(":")[0]}/${host.runtime}`;
  await Deno.mkdir(dir.join("bin"));
  const script = `#!/bin/sh\nprintf '%s\\n' "$*" >> '${dir.join("calls")}'\nexec '${cli}' "$@"\n`;
  await Deno.writeTextFile(dir.join("bin", host.runtime), script, { mode: 0o755 });
  const registries = dir.join("registries.conf");
  await Deno.writeTextFile(registries, `[[registry]]\nlocation = "${server}"\ninsecure = true\n`);
  await Deno.mkdir(dir.join("home"));
  return {
    ...host.env,
    PATH: `${dir.join("bin")}:${host.env.PATH}`,
    HOME: dir.join("home"),
    CONTAINERS_REGISTRIES_CONF: registries,
  };
}

Deno.test("digestOf() takes the digest of the reference's own repository", () => {
  const [a, b] = ["a", "b"].map((digit) => `sha256:${digit.repeat(64)}`) as [string, string];
  const known = [`alpine@${a}`, `registry.local:5000/x/alpine@${b}`];
  assert.equal(digestOf("alpine:3", known), a);
  assert.equal(digestOf("docker.io/library/alpine", known), a);
  assert.equal(digestOf("registry.local:5000/x/alpine:3", known), b);
  assert.equal(digestOf("registry.local:5000/y/alpine:3", known), undefined);
  assert.equal(
    digestOf("localhost/x:1", [`localhost/x@${b}`, `localhost/x@${a}`]),
    a,
    "the same on each host",
  );
  assert.equal(digestOf(`localhost/x@${b}`, [`localhost/x@${b}`, `localhost/x@${a}`]), b);
});
