import assert from "node:assert/strict";
import { assertFinding, lineOf, look } from "../../../testdata/doctor.ts";
import { needs, privateMounts } from "../../../testdata/needs.ts";
import { otherUsers } from "../../../testdata/other_user.ts";
import { davitEnv, run } from "../../../testdata/run.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { dockerCheck, podmanCheck } from "./container_sockets.ts";

/** Listens at `path`; each connection is read once and given `answer`, or nothing when that is undefined. */
function serve(path: string, answer: string | undefined): AsyncDisposable & { readonly heard: string[] } {
  const listener = Deno.listen({ transport: "unix", path });
  const heard: string[] = [];
  const open: Deno.Conn[] = [];
  const serving = (async () => {
    for await (const connection of listener) {
      open.push(connection);
      const bytes = new Uint8Array(4_096);
      const length = await connection.read(bytes);
      heard.push(new TextDecoder().decode(bytes.subarray(0, length ?? 0)));
      if (answer !== undefined) await connection.write(new TextEncoder().encode(answer));
    }
  })();
  return {
    heard,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
      for (const connection of open) connection.close();
    },
  };
}

const PONG = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: Docker/20.10.24 (linux)\r\n\r\nOK";

Deno.test("doctor: docker's socket answers, is silent, foreign, deserted or absent", async (t) => {
  await using dir = await tempDir("doctor");
  const docker = (path: string) => dockerCheck({ DOCKER_HOST: `unix://${path}` });
  await t.step("answers", async () => {
    await using server = serve(dir.join("good"), PONG);
    assertFinding(await look(docker(dir.join("good"))), "ok", /answers, API 1\.41$/);
    assert.match(server.heard.join(), /^GET \/_ping HTTP\/1\.1\r\nHost: localhost\r\n/);
  });
  await t.step("accepts and never answers", async () => {
    await using _server = serve(dir.join("silent"), undefined);
    const finding = await look(docker(dir.join("silent")), 300);
    assertFinding(finding, "degraded", /accepts, but does not answer/);
  });
  await t.step("is another program's", async () => {
    await using _server = serve(dir.join("odd"), "220 mail \u001b[31m\r\n\r\n");
    assertFinding(
      await look(docker(dir.join("odd"))),
      "degraded",
      /not that of a container engine: "220 mail \\u001b/,
    );
  });
  await t.step("is in trouble", async () => {
    await using _server = serve(dir.join("ill"), "HTTP/1.1 500 Internal Server Error\r\n\r\n");
    assertFinding(await look(docker(dir.join("ill"))), "degraded", /"HTTP\/1\.1 500/);
  });
  await t.step("nobody listens", async () => {
    await Deno.writeTextFile(dir.join("file"), "");
    assertFinding(await look(docker(dir.join("file"))), "degraded", /nothing listens on it/);
  });
  await t.step("is absent", async () => {
    assertFinding(await look(docker(dir.join("nothing"))), "missing", /there is no such socket/);
  });
  await t.step("has too long a name", async () => {
    assertFinding(await look(docker(dir.join("x".repeat(200)))), "degraded", /EINVAL|ENAMETOOLONG/);
  });
});

Deno.test("doctor: a DOCKER_HOST on the network is named without its secrets, and left alone", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept().then(() => "spoken to", () => "left alone");
  const env = { DOCKER_HOST: `tcp://me:secret@127.0.0.1:${listener.addr.port}` };
  const finding = await look(dockerCheck(env));
  assertFinding(finding, "degraded", /tcp:\/\/…@127\.0\.0\.1:\d+: not asked/);
  listener.close();
  assert.equal(await accepted, "left alone");
});

Deno.test({
  name: "doctor: podman's sockets, the machine's and the user's",
  ...needs({ root: true, programs: ["unshare", "setpriv"], kernel: [privateMounts] }),
  async fn(t) {
    await using dir = await tempDir("doctor");
    await using users = await otherUsers();
    await Deno.mkdir(dir.join("podman"));
    const socket = dir.join("podman", "podman.sock");
    await using _server = serve(socket, PONG.replace("Api", "Libpod-API-Version: 4.3.1\r\nApi"));
    await t.step("the user's", async () => {
      assertFinding(await look(podmanCheck({ XDG_RUNTIME_DIR: dir.path })), "ok", /answers, API 4\.3\.1$/);
    });
    const asOther = async (mode: number, env: Record<string, string>) => {
      await Deno.chmod(socket, mode);
      const hide = ["unshare", "--mount", "sh", "-euc", 'mount -t tmpfs tmpfs /run; exec "$@"', "sh"];
      const argv = [...hide, ...users.argv(8001, "main.ts", ["doctor", "--json", "--dir", dir.path])];
      const { code, stdout, stderr } = await run(argv, { env: davitEnv(env) });
      assert.equal(code, 0, stderr);
      return lineOf(JSON.parse(stdout));
    };
    await t.step("no permission is another line than no socket", async () => {
      const line = await asOther(0o600, { XDG_RUNTIME_DIR: dir.path, DOCKER_HOST: `unix://${socket}` });
      assertFinding(line("podman"), "degraded", /no permission \(EACCES\)/);
      assertFinding(line("docker"), "degraded", /no permission \(EACCES\)/);
      assert.match(line("docker").mend!, /usermod -aG docker/);
    });
    await t.step("with permission", async () => {
      const line = await asOther(0o666, { XDG_RUNTIME_DIR: dir.path });
      assertFinding(line("podman"), "ok", /API 4\.3\.1/);
    });
    await t.step("none", async () => {
      const line = await asOther(0o666, { XDG_RUNTIME_DIR: "/nowhere" });
      assertFinding(
        line("podman"),
        "missing",
        /^\/run\/podman\/podman\.sock: there is no such socket; \/nowhere\//,
      );
    });
  },
});
