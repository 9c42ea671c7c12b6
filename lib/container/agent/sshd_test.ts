import assert from "node:assert/strict";
import { ENGINE_PROGRAMS } from "../../../testdata/engines.ts";
import { needs } from "../../../testdata/needs.ts";
import { freePort } from "../../../testdata/real_registry.ts";
import { HOST_PROGRAMS, makeContainer, startRuntimeHost } from "../../../testdata/runtime_host.ts";
import { SSHD_ROOT_PROGRAMS, sshdTar } from "../../../testdata/sshd_root.ts";
import { tempDir } from "../../../testdata/temp.ts";
import type { HostMethods } from "../host_methods.ts";
import { makeSshdKeys } from "../sshd_keys.ts";
import { SSHD_CONFIG, SSHD_GENERATION } from "../sshd_paths.ts";
import { clientConfig, serverConfig } from "./sshd.ts";

type Params = HostMethods["sshd"]["params"];

Deno.test({
  ...needs({
    root: true,
    programs: [...ENGINE_PROGRAMS.docker, ...HOST_PROGRAMS, ...SSHD_ROOT_PROGRAMS, "ssh-keygen"],
  }),
  name: "sshd: its own is kept, another's is named, and its sessions have the container's environment",
  async fn(t) {
    await using dir = await tempDir("sshd");
    await using host = await startRuntimeHost("docker", await sshdTar(dir));
    const env = {
      SPACES: "a b",
      QUOTE: `a"b`,
      LD_LIBRARY_PATH: "/opt/rocm/lib",
      PATH: "/bin:/opt/bin",
      TERM: "x",
    };
    const id = await makeContainer(host, { env });
    const base = { ...host.target, name: "sample", id };
    const port = freePort();
    const signal = AbortSignal.timeout(60_000);
    const keysOf = (...names: string[]) =>
      makeSshdKeys(names.map((name) => ({ name, address: "127.0.0.1" })), { port, generation: "g1", signal });
    const keys = await keysOf("localhost", "n1");

    async function sshd(changes: Partial<Params> = {}) {
      const params = { ...base, generation: "g1", port, ...keys, listenAddresses: ["127.0.0.1"], ...changes };
      return (await host.call("sshd", params)).result;
    }
    async function exec(...argv: string[]) {
      const parts = { argv, env: {}, tty: false, stdin: false, graceMs: 1_000, timeoutMs: 60_000 };
      const { result, stdout, stderr } = await host.call("exec", { ...base, ...parts });
      return { code: result.code, stdout: new TextDecoder().decode(stdout), stderr };
    }
    const generation = ["ssh", "-F", SSHD_CONFIG, "127.0.0.1", "cat", SSHD_GENERATION];

    await t.step("it is started once", async () => {
      assert.deepEqual(await sshd(), { kind: "started" });
      assert.deepEqual(await sshd(), { kind: "running" });
      assert.deepEqual(await exec(...generation), { code: 0, stdout: "g1\n", stderr: "" });
    });

    await t.step(
      "plain ssh works, and a session has the environment as far as it can be written",
      async () => {
        const { code, stdout, stderr } = await exec("ssh", "localhost", "printenv");
        assert.equal(code, 0, stderr);
        const lines = stdout.split("\n");
        for (
          const line of [
            "SPACES=a b",
            "LD_LIBRARY_PATH=/opt/rocm/lib",
            "PATH=/bin:/opt/bin",
            "DAVIT_GENERATION=g1",
          ]
        ) {
          assert.ok(lines.includes(line), stdout);
        }
        assert.ok(!stdout.includes("QUOTE="), stdout);
        const { stdout: modes } = await exec(
          "sh",
          "-c",
          "ls -ld /.davit/ssh /.davit/ssh/id_ed25519 | cut -c1-10",
        );
        assert.equal(modes, "drwx------\n-rw-------\n");
        assert.equal((await exec("sh", "-c", "ls -A /root")).stdout.includes(".ssh"), false);
      },
    );

    await t.step("without the key nobody gets in", async () => {
      const options = [
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "BatchMode=yes",
      ];
      const { code, stderr } = await exec(
        "ssh",
        "-F",
        "/dev/null",
        ...options,
        "-p",
        String(port),
        "127.0.0.1",
        "true",
      );
      assert.equal(code, 255);
      assert.match(stderr, /Permission denied \(publickey\)/);
    });

    await t.step("after a stop it is started again, and the keys of its generation stay", async () => {
      const stored = (await exec("cat", "/.davit/ssh/host_ed25519.pub")).stdout;
      await host.call("stop", { ...base, graceMs: 100 });
      await host.call("start", { ...base, timeoutMs: 60_000 });
      assert.deepEqual(await sshd(await keysOf("localhost", "n2")), { kind: "started" });
      assert.equal((await exec("cat", "/.davit/ssh/host_ed25519.pub")).stdout, stored);
      assert.deepEqual(await exec(...generation), { code: 0, stdout: "g1\n", stderr: "" });
      assert.equal(
        (await exec("ssh", "n2", "-o", "HostName=127.0.0.1", "true")).code,
        0,
        "known by its new name",
      );
    });

    await t.step("whoever else has the port is named and left alone", async () => {
      using outside = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const taken = { port: outside.addr.port };
      const answer = await sshd(taken);
      assert.ok(
        answer.kind === "foreign" && answer.holder.startsWith(`pid ${Deno.pid} (`),
        JSON.stringify(answer),
      );

      await exec("sh", "-c", "kill $(cat /.davit/ssh/pid)");
      const other = [
        "/usr/sbin/sshd",
        "-f",
        "/dev/null",
        "-p",
        String(port),
        "-o",
        "ListenAddress=127.0.0.1",
        "-h",
        "/.davit/ssh/host_ed25519",
      ];
      await exec("sh", "-c", `while [ -e /proc/$(cat /.davit/ssh/pid 2>/dev/null)/fd ]; do sleep 0.1; done`);
      assert.equal((await exec(...other)).code, 0);
      await exec(
        "sh",
        "-c",
        `until grep -qi ':${port.toString(16).padStart(4, "0")} .* 0A ' /proc/net/tcp; do sleep 0.1; done`,
      );
      const inside = await sshd();
      assert.ok(inside.kind === "foreign", JSON.stringify(inside));
      assert.match(inside.holder, /^pid \d+ in the container \(.*sshd/);
      assert.deepEqual(await sshd(), inside);
    });

    await t.step("an image without it says so", async () => {
      await exec("mv", "/usr/sbin/sshd", "/usr/sbin/sshd.away");
      assert.deepEqual(await sshd(), { kind: "missing" });
    });
  },
});

Deno.test("serverConfig() and clientConfig() name addresses and hosts as OpenSSH reads them", () => {
  const params = {
    generation: "g1",
    port: 2224,
    listenAddresses: ["10.0.0.1", "fd00::1"],
  } as unknown as Params;
  const server = serverConfig(params, [
    "A=b c",
    "NL=a\nb",
    `Q="`,
    "HOME=/x",
    "DAVIT_GENERATION=forged",
    "no-equals",
  ]);
  assert.match(server, /^ListenAddress 10\.0\.0\.1:2224\nListenAddress \[fd00::1\]:2224\n/);
  assert.match(server, /^SetEnv DAVIT_GENERATION="g1" A="b c"$/m);
  assert.match(serverConfig({ ...params, listenAddresses: [] }, []), /^Port 2224\n/);
  const client = clientConfig("[n1]:2224 ssh-ed25519 K\n[10.0.0.1]:2224,[n2]:2224 ssh-ed25519 K\n", 2224);
  assert.match(client, /^Host n1 10\.0\.0\.1 n2\n {2}Port 2224\n/);
});
