import assert from "node:assert/strict";
import { isAlive, untilEnded } from "./alive.ts";
import { davitArgv, davitEnv, run, start } from "./run.ts";
import { tempDir } from "./temp.ts";

Deno.test("run() returns status, signal and both outputs", async (t) => {
  for (
    const [script, code, signal] of [
      ["echo out; echo err >&2; exit 7", 7, null],
      ["echo out; echo err >&2; kill -KILL $$", 137, "SIGKILL"],
    ] as const
  ) {
    await t.step(script, async () => {
      assert.deepEqual(await run(["sh", "-c", script]), { code, signal, stdout: "out\n", stderr: "err\n" });
    });
  }
});

Deno.test({
  name: "run() returns a real-time signal",
  // Deno 2.9.6 has no name for it, fails to give the status and keeps the child's entry for ever.
  sanitizeResources: false,
  async fn() {
    assert.deepEqual(await run(["sh", "-c", "kill -35 $$"]), {
      code: 163,
      signal: "35",
      stdout: "",
      stderr: "",
    });
  },
});

Deno.test("run() hands over stdin, environment and directory", async () => {
  const { stdout } = await run(["sh", "-c", "cat; echo $A; echo ${HOME-gone}; pwd"], {
    stdin: "in\n",
    env: { A: "a", HOME: undefined },
    cwd: "/usr",
  });
  assert.equal(stdout, "in\na\ngone\n/usr\n");
});

Deno.test("run() does not mind a program that ignores its stdin", async () => {
  assert.equal((await run(["true"], { stdin: "x".repeat(1 << 20) })).code, 0);
});

Deno.test("run() throws when there is no such program", async () => {
  await assert.rejects(run(["/no/such/program"]), Deno.errors.NotFound);
});

Deno.test("run() kills the whole group at its timeout and shows what was printed", async () => {
  await using dir = await tempDir("run");
  const script = `sleep 100 & echo $! >${dir.path}/pid; echo started; trap "" TERM; wait`;
  await assert.rejects(
    run(["sh", "-c", script], { timeoutMs: 500 }),
    /still ran after 500 ms\n--- stdout\nstarted/,
  );
  await untilEnded(Number(await Deno.readTextFile(`${dir.path}/pid`)));
});

Deno.test("run() ends at its timeout although a process in another session holds the output", async () => {
  await using dir = await tempDir("run");
  // Without a terminal setsid needs no fork: the pid is the one that sh knows.
  const script = `setsid sleep 100 & echo $! >${dir.path}/pid`;
  await assert.rejects(run(["sh", "-c", script], { timeoutMs: 500 }), /still ran after 500 ms/);
  Deno.kill(Number(await Deno.readTextFile(`${dir.path}/pid`)), "SIGKILL");
});

Deno.test("run() stops at an abort with the signal's reason", async () => {
  const abort = new AbortController();
  await using child = start(["sh", "-c", "echo up; sleep 100"], { signal: abort.signal });
  await child.waitFor(/up/);
  abort.abort(new Error("enough"));
  await assert.rejects(child.done, /^Error: enough$/);
});

Deno.test("start() gives up waiting for a text when the program has ended or the time is over", async () => {
  await using ended = start(["echo", "something"]);
  await assert.rejects(ended.waitFor(/other/), /ended without printing \/other\/\n--- stdout\nsomething/);
  await using silent = start(["sleep", "100"]);
  await assert.rejects(silent.waitFor(/other/, 100), /did not print/);
});

Deno.test("leaving the block of start() ends the group", async () => {
  let pid: number;
  {
    await using child = start(["sh", "-c", "sleep 100 & echo pid $!; wait"]);
    pid = Number((await child.waitFor(/pid (\d+)\n/))[1]);
    assert.equal(isAlive(pid), true);
  }
  await untilEnded(pid);
});

Deno.test("davitEnv() shows nothing of who runs the tests", async () => {
  await using dir = await tempDir("run");
  const program = `import { davitEnv } from "${import.meta.resolve("./run.ts")}";
    console.log(JSON.stringify(davitEnv({ SLURM_JOB_ID: "7" })));`;
  const env = {
    DAVIT_LOG_LEVEL: "debug",
    SLURM_JOB_ID: "1",
    SLURM_STEP_ID: "2",
    HOME: dir.path,
    DENO_DIR: undefined,
  };
  const { stdout } = await run([Deno.execPath(), "run", "-A", "-"], { stdin: program, env });
  const seen = JSON.parse(stdout);
  assert.equal(seen.DAVIT_LOG_LEVEL, undefined);
  assert.equal(seen.SLURM_STEP_ID, undefined);
  assert.equal(seen.SLURM_JOB_ID, "7");
  assert.match(seen.HOME, /^\/proc\//);
  assert.equal(seen.DENO_DIR, `${Deno.env.get("XDG_CACHE_HOME") ?? `${dir.path}/.cache`}/deno`);
});

Deno.test("davit runs from source in any directory", async () => {
  const { code, stderr } = await run(davitArgv(["--help"]), { cwd: "/", env: davitEnv() });
  assert.equal(code, 0, stderr);
});
