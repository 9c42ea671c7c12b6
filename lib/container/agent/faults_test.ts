import assert from "node:assert/strict";
import { processesOf } from "../../../testdata/container_processes.ts";
import { ENGINE_PROGRAMS, IMAGE } from "../../../testdata/engines.ts";
import { needs } from "../../../testdata/needs.ts";
import { otherUsers } from "../../../testdata/other_user.ts";
import { run } from "../../../testdata/run.ts";
import {
  callHandler,
  HOST_PROGRAMS,
  makeContainer,
  type RuntimeHost,
  sampleLabels,
  sampleSpec,
  startRuntimeHost,
} from "../../../testdata/runtime_host.ts";
import { tempDir } from "../../../testdata/temp.ts";
import type { HostFacts } from "../facts.ts";
import { hostHandlers } from "./handlers.ts";

const NOISY = decodeURIComponent(new URL("../../../testdata/bin/noisy", import.meta.url).pathname);
const NOBODY = 65534;

async function factsWith(
  env: Record<string, string>,
  cliTimeoutMs = 60_000,
  runtime: "docker" | "podman" = "docker",
) {
  await using serving = hostHandlers({ env, cliTimeoutMs });
  return (await callHandler(serving, "facts", { runtime, sudo: "auto", name: "sample", image: IMAGE }))
    .result;
}

function unknown(facts: HostFacts, why: string, detail: RegExp): void {
  assert.ok(facts.kind === "unknown", JSON.stringify(facts));
  assert.equal(facts.why, why, facts.detail);
  assert.match(facts.detail, detail);
}

Deno.test({
  ...needs({
    root: true,
    programs: [...ENGINE_PROGRAMS.docker, ...HOST_PROGRAMS, "sudo", "setpriv", "unshare"],
  }),
  name: "a host that cannot tell says which of its parts it is, and noise is no fault",
  async fn(t) {
    await using dir = await tempDir("faults");
    const locks = { DAVIT_CONTAINER_LOCK_DIR: dir.path };

    await t.step("no such program", async () => {
      unknown(
        await factsWith({ PATH: dir.path, ...locks }),
        "runtime_missing",
        /no program "docker" on PATH/,
      );
    });

    await t.step("a program that hangs", async () => {
      await Deno.writeTextFile(dir.join("docker"), "#!/bin/sh\nexec sleep 600\n", { mode: 0o755 });
      const path = `${dir.path}:${Deno.env.get("PATH")}`;
      unknown(await factsWith({ PATH: path, ...locks }, 300), "timeout", /no answer to "\w+" within 300 ms/);
      await Deno.remove(dir.join("docker"));
    });

    await t.step("a program that says nothing sensible", async () => {
      await Deno.writeTextFile(dir.join("podman"), "#!/bin/sh\necho '[{\"Id\": 7}]'\n", { mode: 0o755 });
      const path = `${dir.path}:${Deno.env.get("PATH")}`;
      unknown(
        await factsWith({ PATH: path, ...locks }, 60_000, "podman"),
        "daemon",
        /Cannot understand podman/,
      );
      await Deno.remove(dir.join("podman"));
    });

    await t.step("a daemon that is down", async () => {
      const env = {
        PATH: Deno.env.get("PATH")!,
        HOME: dir.path,
        DOCKER_HOST: `unix://${dir.join("none.sock")}`,
        ...locks,
      };
      unknown(await factsWith(env), "daemon", /Cannot connect to the Docker daemon|failed to connect/i);
    });

    await using host = await startRuntimeHost("docker");
    await t.step("a CLI that warns on every call changes nothing", () => noiseSteps(host));
    await t.step("a socket that refuses us, with and without sudo", () => sudoSteps(host));
  },
});

async function noiseSteps(host: RuntimeHost): Promise<void> {
  const env = {
    ...host.env,
    DAVIT_TEST_CLI: `${host.env.PATH!.split(":")[0]}/docker`,
    PATH: `${NOISY}:${host.env.PATH}`,
  };
  const noisy: RuntimeHost = {
    ...host,
    call: (method, params, parts) => callHandler(hostHandlers({ env }), method, params, parts),
  };
  const { target } = noisy;
  const facts = async () => (await noisy.call("facts", { ...target, name: "sample", image: IMAGE })).result;
  const before = await facts();
  assert.ok(
    before.kind === "known" && before.container === null && before.image !== null,
    JSON.stringify(before),
  );
  const id = await makeContainer(noisy);
  const mark = { generation: "g1", provision: "none", readyAt: "t", startedAt: "t" };
  await noisy.call("markReady", { ...target, name: "sample", id, mark });
  const known = await facts();
  assert.ok(known.kind === "known" && known.container !== null, JSON.stringify(known));
  assert.deepEqual([known.container.id, known.container.status, known.container.ready], [
    id,
    "running",
    mark,
  ]);
  assert.deepEqual(known.container.labels, sampleLabels(sampleSpec(), before.image));
  const request = { ...target, name: "sample", id, env: {}, tty: false, stdin: false, graceMs: 1_000 };
  for (
    const [argv, code, out] of [[["sh", "-c", "echo out; exit 6"], 6, "out\n"], [["nope"], 127, ""]] as const
  ) {
    const { result, stdout, stderr } = await noisy.call("exec", { ...request, argv });
    assert.deepEqual([result.code, new TextDecoder().decode(stdout)], [code, out]);
    assert.match(stderr, code === 127 ? /davit: cannot run "nope": there is no such program\n$/ : /WARNING/);
  }
  assert.equal((await noisy.call("list", target)).result.containers.length, 1);
  await host.cli("stop", "-t0", id);
  const stopped = await facts();
  assert.ok(stopped.kind === "known" && stopped.container?.status === "exited", JSON.stringify(stopped));
  assert.deepEqual((await noisy.call("remove", { ...target, name: "sample", id, generation: "g1" })).result, {
    removed: true,
  });
}

/** As a user whom the socket refuses, with a sudo whose rules are put over the machine's in a mount namespace. */
async function sudoSteps(host: RuntimeHost): Promise<void> {
  await using users = await otherUsers();
  await using dir = await tempDir("sudo");
  const bin = host.env.PATH!.split(":")[0]!;
  for (const path of [bin, bin.replace(/\/[^/]*$/, "")]) await Deno.chmod(path, 0o755);
  const id = await makeContainer(host);
  const sudoers = dir.join("sudoers");

  async function callAs(rules: string, calls: readonly unknown[]): Promise<unknown[]> {
    await Deno.writeTextFile(
      sudoers,
      `Defaults secure_path="${bin}:/usr/sbin:/usr/bin:/sbin:/bin"\n${rules}\n`,
    );
    await Deno.chmod(sudoers, 0o440);
    const env = { PATH: host.env.PATH, HOME: "/nonexistent" };
    const { code, stdout, stderr } = await run([
      ...["unshare", "-m", "sh", "-euc", `mount --bind "$0" /etc/sudoers; exec "$@"`, sudoers],
      ...users.argv(NOBODY, "testdata/host_calls.ts", [JSON.stringify({ env, calls })]),
    ]);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  }

  const target = { runtime: "docker", name: "sample" };
  const factsUnder = async (rules: string) =>
    await callAs(
      rules,
      ["never", "auto", "always"].map((sudo) => ["facts", { ...target, sudo }]),
    ) as HostFacts[];
  // Who is not root cannot see into the container's processes: they are ended from inside, by a script.
  const stubborn = "trap '' TERM; setsid sleep 1021 & (sleep 1022 &); while :; do sleep 1; done";
  const exec = { argv: ["sh", "-c", stubborn], env: { LINES: "a\nb" }, tty: false, stdin: false };
  const timed = (sudo: string) => ["exec", { ...target, sudo, id, ...exec, timeoutMs: 2_000, graceMs: 200 }];
  const ended = { code: 137, signal: null, timedOut: true };

  const all = "nobody ALL=(root) NOPASSWD: ALL";
  const [never, auto, always] = await factsUnder(all);
  unknown(never!, "permission", /this user may not: .*permission denied/);
  for (const facts of [auto!, always!]) {
    assert.ok(facts.kind === "known" && facts.container?.id === id, JSON.stringify(facts));
  }
  assert.deepEqual(await callAs(all, [timed("auto")]), [ended]);
  assert.deepEqual(await processesOf(id), []);

  const [, autoAsked, alwaysAsked] = await factsUnder("nobody ALL=(root) ALL");
  unknown(autoAsked!, "permission", /this user may not/);
  unknown(alwaysAsked!, "sudo", /sudo refuses: .*a password is required/);
  const [, , notAllowed] = await factsUnder("nobody ALL=(root) NOPASSWD: /usr/bin/true");
  unknown(notAllowed!, "sudo", /sudo refuses/);

  const socket = /DOCKER_HOST=unix:\/\/([^']+)/.exec(await Deno.readTextFile(`${bin}/docker`))![1]!;
  await Deno.chmod(socket, 0o666);
  await Deno.chmod(socket.replace(/\/[^/]*$/, ""), 0o755);
  assert.deepEqual(await callAs("", [timed("auto")]), [ended], "a member of the group docker");
  assert.deepEqual(await processesOf(id), []);
}
