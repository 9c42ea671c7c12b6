import assert from "node:assert/strict";
import { ENGINE_PROGRAMS, IMAGE } from "../../../testdata/engines.ts";
import { needs } from "../../../testdata/needs.ts";
import { run } from "../../../testdata/run.ts";
import {
  HOST_PROGRAMS,
  makeContainer,
  type RuntimeHost,
  sampleLabels,
  sampleSpec,
  startRuntimeHost,
} from "../../../testdata/runtime_host.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { makeTar } from "../../../testdata/make_tar.ts";
import { Failure } from "../../failure.ts";
import type { ContainerFacts } from "../facts.ts";
import type { ContainerSpec } from "../spec.ts";

for (const runtime of ["docker", "podman"] as const) {
  Deno.test({
    ...needs({ root: true, programs: [...ENGINE_PROGRAMS[runtime], ...HOST_PROGRAMS] }),
    name: `a container is created, used, stopped, started and removed, and stays the same (${runtime})`,
    async fn(t) {
      await using host = await startRuntimeHost(runtime);
      await lifeSteps(t, host);
    },
  });
}

async function lifeSteps(t: Deno.TestContext, host: RuntimeHost): Promise<void> {
  const { target } = host;
  const name = "sample";
  const failsWith = (code: string, message: RegExp) => (error: unknown) => {
    assert.ok(error instanceof Failure, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

  async function facts(wanted = name): Promise<ContainerFacts | null> {
    const { result } = await host.call("facts", { ...target, name: wanted, image: IMAGE });
    assert.ok(result.kind === "known", JSON.stringify(result));
    return result.container;
  }

  async function sh(id: string, line: string, wanted = name): Promise<string> {
    const { stdout, stderr, result } = await host.call("exec", {
      ...{ ...target, name: wanted, id, argv: ["sh", "-c", line], env: {} },
      ...{ tty: false, stdin: false, graceMs: 1_000 },
    });
    assert.equal(result.code, 0, stderr);
    return new TextDecoder().decode(stdout);
  }

  await t.step("nothing is there at first", async () => {
    const { result } = await host.call("facts", { ...target, name, image: "localhost/absent:1" });
    assert.deepEqual(result, { kind: "known", container: null, image: null });
    assert.deepEqual((await host.call("list", target)).result, { containers: [] });
  });

  const id = await makeContainer(host);
  const base = { ...target, name, id };
  const mark = { generation: "g1", provision: "none", readyAt: "2026-01-01T00:00:00Z", startedAt: "now" };

  await t.step("facts: what inspect says, labels, and the mark once it is made", async () => {
    const before = await facts();
    assert.ok(before !== null);
    assert.equal(before.id, id);
    assert.equal(before.status, "running");
    assert.match(before.imageId, /^sha256:[0-9a-f]{64}$/);
    assert.deepEqual(
      before.labels,
      sampleLabels(sampleSpec(), { id: before.imageId, digest: before.labels!.imageDigest }),
    );
    assert.equal(before.ready, undefined);
    await host.call("markReady", { ...base, mark });
    const after = await facts();
    assert.deepEqual(after, { ...before, ready: mark, lastUsedAt: after?.lastUsedAt });
    assert.ok(Date.now() - Date.parse(after!.lastUsedAt!) < 60_000);
    const { result: { containers } } = await host.call("list", { ...target, owner: "tester" });
    assert.deepEqual(containers, [{ ...after, name }]);
    assert.deepEqual((await host.call("list", { ...target, owner: "another" })).result, { containers: [] });
    // The beginning of an id is no name, although both CLIs take it for one.
    assert.equal(await facts(id.slice(0, 12)), null);
  });

  await t.step("stopped, paused: the mark can be read, start and unpause keep the overlay", async () => {
    await sh(id, "echo kept > /marker");
    await host.call("stop", { ...base, graceMs: 100 });
    const stopped = await facts();
    assert.equal(stopped!.status, "exited");
    assert.deepEqual(stopped!.ready, mark);
    await assert.rejects(sh(id, "true"), failsWith("not_running", /it is exited/));
    const { result: started } = await host.call("start", { ...base, timeoutMs: 60_000 });
    assert.deepEqual([started.id, started.status], [id, "running"]);
    assert.equal(await sh(id, "cat /marker"), "kept\n");

    await host.cli("pause", id);
    const paused = await facts();
    assert.equal(paused!.status, "paused");
    assert.deepEqual(paused!.ready, mark);
    const { result: unpaused } = await host.call("start", { ...base, timeoutMs: 60_000 });
    assert.deepEqual([unpaused.id, unpaused.startedAt], [id, started.startedAt], "it was not started anew");
    await host.cli("pause", id);
    await host.call("stop", { ...base, graceMs: 100 });
    assert.equal((await facts())!.status, "exited");
    await host.call("stop", { ...base, graceMs: 100 });
    await host.call("start", { ...base, timeoutMs: 60_000 });
  });

  await t.step("files out and in, as they are", async () => {
    const { stdout } = await host.call("copyOut", { ...base, path: "/marker" });
    await using dir = await tempDir("tar");
    await Deno.writeFile(dir.join("x.tar"), stdout);
    assert.equal((await run(["tar", "-xOf", dir.join("x.tar"), "marker"])).stdout, "kept\n");
    async function* input() {
      const tar = makeTar([{ name: "in 'x'", data: "new\n", mode: 0o640 }]);
      yield tar.subarray(0, 700);
      yield tar.subarray(700);
    }
    await host.call("copyIn", { ...base, directory: "/tmp" }, { input: input() });
    assert.equal(await sh(id, `cat "/tmp/in 'x'"`), "new\n");
    await assert.rejects(
      host.call("copyOut", { ...base, path: "/no" }),
      failsWith("not_found", /no such path/),
    );
    await assert.rejects(
      host.call("copyIn", { ...base, directory: "/no" }, { input: input() }),
      failsWith("not_found", /no such path/),
    );
  });

  await t.step("a taken name is refused and what has it is left alone", async () => {
    await assert.rejects(makeContainer(host), failsWith("name_taken", /the name is taken/));
    assert.equal((await facts())!.id, id);
  });

  await t.step("starts that fail say why", async () => {
    const start = (changes: Partial<ContainerSpec>) =>
      makeContainer(host, { ...changes, startTimeoutMs: 30_000 });
    const noise = "echo words of the log; echo more >&2; exit 3";
    await assert.rejects(
      start({ name: "ends", command: ["sh", "-c", noise] }),
      failsWith("start_failed", /it ended at once, with status 3; its log ends: .*words of the log/),
    );
    const { result, stdout, stderr } = await host.call("logs", {
      ...{ ...target, name: "ends", id: (await facts("ends"))!.id, follow: false },
    });
    assert.deepEqual([result, new TextDecoder().decode(stdout), stderr], [
      null,
      "words of the log\n",
      "more\n",
    ]);
    await assert.rejects(start({ name: "none", command: ["no-such"] }), (error) => {
      assert.ok(error instanceof Failure && error.code === "no_command", String(error));
      assert.match(error.hint!, /command/);
      return true;
    });
    await assert.rejects(
      start({ name: "dev", devices: ["/dev/none"] }),
      failsWith("missing_device", /"\/dev\/none"/),
    );
    await assert.rejects(
      start({ name: "env", envFiles: ["/no/such.env"] }),
      failsWith("missing_env_file", /"\/no\/such.env"/),
    );
    assert.equal(await facts("dev"), null);
  });

  await t.step("words of a spec are words, whatever is in them", async () => {
    await using dir = await tempDir("odd");
    const odd = `$(touch ${dir.join("injected")})`;
    const hostile = `; touch ${dir.join("injected")} '"`;
    await Deno.mkdir(dir.join(odd.replaceAll("/", "_")));
    const source = dir.join(odd.replaceAll("/", "_"));
    const made = await makeContainer(host, {
      name: "odd",
      env: { V: odd },
      volumes: [`${source}:/mnt/${hostile.replaceAll(/[/:]/g, "_")}`],
      command: [
        "sh",
        "-c",
        `test "$1" = "$V" && test "$2" = --privileged && sleep 1000`,
        "sh",
        odd,
        "--privileged",
      ],
      workdir: "/tmp",
    });
    assert.match(await sh(made, "pwd; ls /mnt", "odd"), /^\/tmp\n; touch .*injected '"\n$/);
    await assert.rejects(Deno.stat(dir.join("injected")), Deno.errors.NotFound);
    for (const bad of ["--rm", "a b", "x;y", "../x", "$(id)"]) {
      await assert.rejects(makeContainer(host, { name: bad }), failsWith("bad_params", /name/));
      await assert.rejects(makeContainer(host, { image: bad }), failsWith("bad_params", /image/));
    }
  });

  await t.step("an image made of a container of ours does not make what is made of it ours", async () => {
    assert.equal((await host.cli("commit", id, "localhost/committed:1")).code, 0);
    const { code, stderr } = await host.cli(
      "create",
      "--name=copy",
      "--network=host",
      "localhost/committed:1",
      "true",
    );
    assert.equal(code, 0, stderr);
    const copy = await facts("copy");
    assert.deepEqual([copy!.labels, copy!.ready], [undefined, undefined]);
    await assert.rejects(
      host.call("remove", { ...target, name: "copy", id: copy!.id, generation: "g1" }),
      failsWith("foreign", /not of this generation/),
    );
  });

  await t.step("only what is of that generation is removed", async () => {
    await assert.rejects(
      host.call("remove", { ...base, generation: "g2" }),
      failsWith("foreign", /generation/),
    );
    await assert.rejects(
      host.call("remove", { ...base, name: "other", generation: "g1" }),
      failsWith("foreign", /./),
    );
    assert.equal((await facts())!.status, "running");
    assert.deepEqual((await host.call("remove", { ...base, generation: "g1" })).result, { removed: true });
    assert.deepEqual((await host.call("remove", { ...base, generation: "g1" })).result, { removed: false });
    assert.equal(await facts(), null);
    await assert.rejects(
      host.call("start", { ...base, timeoutMs: 1_000 }),
      failsWith("no_such_container", /./),
    );
  });
}
