import assert from "node:assert/strict";
import { processesOf } from "../../../testdata/container_processes.ts";
import { ENGINE_PROGRAMS } from "../../../testdata/engines.ts";
import { needs } from "../../../testdata/needs.ts";
import {
  type CallParts,
  HOST_PROGRAMS,
  makeContainer,
  type RuntimeHost,
  startRuntimeHost,
} from "../../../testdata/runtime_host.ts";
import { Failure } from "../../failure.ts";
import type { HostMethods } from "../host_methods.ts";

type Wish = Partial<HostMethods["exec"]["params"]>;

/** Runs until somebody ends it; TERM ends it. */
const FOREVER = ["sh", "-c", "echo up; while :; do sleep 1; done"];

for (const runtime of ["docker", "podman"] as const) {
  Deno.test({
    ...needs({ root: true, programs: [...ENGINE_PROGRAMS[runtime], ...HOST_PROGRAMS] }),
    name: `exec: streams, statuses, variables, signals and a certain end (${runtime})`,
    async fn(t) {
      await using host = await startRuntimeHost(runtime);
      const odd = "a b\n$(touch /tmp/x) `id` ' \" \\ é\t";
      const big = "x".repeat(100_000);
      const env = { ODD: odd, BIG: big, LD_LIBRARY_PATH: "/opt/lib:/x", PATH: "/bin:/opt/bin" };
      const id = await makeContainer(host, { env });
      await execSteps(t, host, id, { odd, big });
    },
  });
}

async function execSteps(
  t: Deno.TestContext,
  host: RuntimeHost,
  id: string,
  { odd, big }: { odd: string; big: string },
): Promise<void> {
  async function exec(argv: readonly string[], wish: Wish = {}, parts: CallParts = {}) {
    const params = {
      ...host.target,
      name: "sample",
      id,
      argv,
      env: {},
      tty: false,
      stdin: false,
      graceMs: 60_000,
    };
    const { result, stdout, stderr } = await host.call("exec", { ...params, ...wish }, parts);
    return { ...result, stdout: new TextDecoder().decode(stdout), bytes: stdout, stderr };
  }
  const ended = (code: number) => ({ code, signal: null, timedOut: false });

  await t.step("the container has its variables byte for byte, and so has an exec", async () => {
    const argv = [
      "sh",
      "-c",
      `printf '%s|%s|%s|%s|' "$ODD" "$BIG" "$LD_LIBRARY_PATH" "$PATH"; printf %s "$MORE"`,
    ];
    const { stdout, stderr, code } = await exec(argv, { env: { MORE: `${odd}${big}`, HOME: "/h" } });
    assert.equal(code, 0, stderr);
    assert.ok(
      stdout === `${odd}|${big}|/opt/lib:/x|/bin:/opt/bin|${odd}${big}`,
      stdout.replaceAll(big, "(big)"),
    );
  });

  await t.step("both streams and the input are apart and exact", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    async function* input() {
      yield bytes.subarray(0, 1);
      yield bytes.subarray(1);
    }
    const argv = ["sh", "-c", "cat; echo to stderr >&2; exit 3"];
    const end = await exec(argv, { stdin: true }, { input: input() });
    assert.deepEqual(end.bytes, bytes);
    assert.equal(end.stderr, "to stderr\n");
    assert.equal(end.code, 3);
  });

  await t.step("a caller that does not take the output holds the program back", async () => {
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    let taken = 0;
    const argv = ["sh", "-c", "dd if=/dev/zero bs=65536 count=320 2>/dev/null; echo done > /tmp/written"];
    const running = exec(argv, {}, {
      async onBytes(_channel, bytes) {
        taken += bytes.length;
        begun.resolve();
        await gate.promise;
      },
    });
    await begun.promise;
    const { code } = await exec(["test", "-e", "/tmp/written"]);
    assert.equal(code, 1, "20 MB went where nobody takes them");
    gate.resolve();
    assert.equal((await running).code, 0);
    assert.equal(taken, 320 * 65536);
  });

  await t.step("statuses are those of a shell", async () => {
    for (
      const [argv, code] of [[["sh", "-c", "exit 255"], 255], [["sh", "-c", "kill -9 $$"], 137]] as const
    ) {
      const { stdout: _o, stderr: _e, bytes: _b, ...end } = await exec(argv);
      assert.deepEqual(end, ended(code));
    }
    for (
      const [argv, wish, code, words] of [
        [["nope"], {}, 127, "there is no such program"],
        [["/etc/passwd"], {}, 126, "it cannot be executed"],
        [["pwd"], { workdir: "/nope" }, 126, "there is no such working directory"],
        [["pwd"], { user: "nobody-here" }, 126, "there is no such user or group"],
      ] as const
    ) {
      const end = await exec(argv, wish);
      assert.equal(end.code, code, `${argv}: ${end.stdout}${end.stderr}`);
      assert.equal(end.stdout, "", "the runtime's own words are no output of a program");
      assert.equal(end.stderr, `davit: cannot run "${argv[0]}": ${words}\n`);
    }
    const words = "OCI runtime exec failed: executable file not found";
    const end = await exec(["sh", "-c", `echo '${words}'; exit 3`]);
    assert.deepEqual([end.code, end.stdout], [3, `${words}\n`], "a program may print such words itself");
  });

  await t.step("user, working directory, terminal", async () => {
    const { stdout } = await exec(["sh", "-c", "id -un; pwd"], { user: "user", workdir: "/etc" });
    assert.equal(stdout, "user\n/etc\n");
    const sized = Promise.withResolvers<void>();
    async function* messages() {
      yield { columns: 101, rows: 33 };
      await sized.promise;
    }
    const argv = [
      "sh",
      "-c",
      `until [ "$(stty size 2>/dev/null)" = "33 101" ]; do sleep 0.1; done; tty; stty size; exit 4`,
    ];
    const end = await exec(argv, { tty: true, stdin: true }, { messages: messages() });
    sized.resolve();
    assert.match(end.stdout, /^\/dev\/\S+\r\n33 101\r\n$/);
    assert.equal(end.code, 4);
  });

  await t.step("signals reach the program and its group as from a terminal", async () => {
    const up = Promise.withResolvers<void>();
    async function* messages() {
      await up.promise;
      yield { signal: "SIGINT" };
    }
    const argv = ["sh", "-c", "trap 'echo caught; exit 5' INT; echo up; while :; do sleep 1; done"];
    const end = await exec(argv, {}, { messages: messages(), onBytes: () => up.resolve() });
    assert.equal(end.stdout, "up\ncaught\n");
    assert.equal(end.code, 5);
  });

  await t.step("a timeout ends what runs inside, whatever it is", async () => {
    const stubborn =
      "trap '' TERM HUP INT; echo up; setsid sleep 1011 & env -i sleep 1012 & (sleep 1013 &) ; " +
      "while :; do sleep 1; done";
    const { code, timedOut, stdout } = await exec(["sh", "-c", stubborn], { timeoutMs: 2_500, graceMs: 200 });
    assert.equal(timedOut, true);
    assert.equal(code, 137);
    assert.equal(stdout, "up\n");
    assert.deepEqual(await processesOf(id), []);
    const soft = await exec(FOREVER, { timeoutMs: 2_000 });
    assert.deepEqual([soft.timedOut, soft.code], [true, 143], "one that obeys TERM gets no KILL");
    assert.deepEqual(await processesOf(id), []);
  });

  await t.step("so does a caller that is gone, at any moment", async () => {
    for (const when of ["running", "starting", "reading"] as const) {
      const abort = new AbortController();
      const argv = when === "reading" ? ["sh", "-c", "cat; sleep 1014"] : FOREVER;
      const running = exec(argv, { graceMs: 2_000, stdin: when === "reading" }, {
        signal: abort.signal,
        onBytes() {
          if (when === "running") abort.abort(new Error("gone"));
        },
      });
      if (when === "starting") setTimeout(() => abort.abort(new Error("gone")), 30);
      if (when === "reading") setTimeout(() => abort.abort(new Error("gone")), 1_000);
      await assert.rejects(running, /gone/, when);
      assert.deepEqual(await processesOf(id), [], when);
    }
  });

  await t.step("what a program leaves behind on purpose stays", async () => {
    assert.equal((await exec(["sh", "-c", "sleep 1015 > /dev/null 2>&1 &"])).code, 0);
    assert.deepEqual(await processesOf(id), ["sleep 1015"]);
    await host.cli("exec", id, "sh", "-c", "kill $(pidof sleep | tr ' ' '\\n' | grep -vx 1)");
  });

  await t.step("scripts: any size, own stdin, an error in the middle, by their first line", async () => {
    async function script(text: string, env: Record<string, string> = {}) {
      const params = { ...host.target, name: "sample", id, text, label: "setup", timeoutMs: 60_000, env };
      const { result, stdout, stderr } = await host.call("script", params);
      return [result.code, new TextDecoder().decode(stdout), stderr];
    }
    const filler = `# ${"f".repeat(1 << 20)}\n`;
    assert.deepEqual(
      await script(`echo one; cat\n${filler}read x || echo "no input, $ENV"\necho last\n`, { ENV: odd }),
      [
        0,
        `one\nno input, ${odd}\nlast\n`,
        "",
      ],
    );
    assert.deepEqual(await script("echo one\nfalse\necho never\n"), [1, "one\n", ""]);
    assert.deepEqual(await script("#!/bin/cat\nshown\n"), [0, "#!/bin/cat\nshown\n", ""]);
  });

  await t.step("a container that does not run is told from a program that fails", async () => {
    const said = await exec(["sh", "-c", "echo 'Error response from daemon: no' >&2; exit 1"]);
    assert.deepEqual([said.code, said.stderr], [1, "Error response from daemon: no\n"]);
    await host.cli("pause", id);
    await assert.rejects(exec(["true"]), (error) => {
      assert.ok(error instanceof Failure && error.code === "not_running", String(error));
      assert.match(error.message, /it is paused/);
      return true;
    });
    await host.cli("unpause", id);
  });
}
