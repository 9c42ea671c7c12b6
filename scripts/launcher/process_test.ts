import assert from "node:assert/strict";
import { isAlive } from "../../testdata/alive.ts";
import { needs } from "../../testdata/needs.ts";
import { type PortableStage, setPortableStage, STAGE_PROGRAMS } from "../../testdata/portable_stage.ts";
import { type LiveProcess, run, start } from "../../testdata/run.ts";

const stageNeeds = needs({ programs: [...STAGE_PROGRAMS, "ps"] });

/** Starts portable_program.ts by way of a shell that does `prelude`, and waits until it is at work. */
async function startWaiting(stage: PortableStage, prelude = ""): Promise<LiveProcess & { go: string }> {
  const go = stage.dir.join(`go-${crypto.randomUUID()}`);
  const script = `${prelude}\nexec "$0" "$@"`;
  const line = ["sh", "-c", script, stage.program, "run", "echo", "ready"];
  const env = { DAVIT_CACHE: stage.cache };
  assert.equal((await run(line, { env })).stdout, "ready\n");
  const process = start(["sh", "-c", script, stage.program, "when", go, "args", "done"], { env });
  while (await commandName(process.pid) !== "davit" || !isRuntime(process.pid)) {
    if (!isAlive(process.pid)) throw new Error(`ended too early: ${(await process.done).stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return Object.assign(process, { go });
}

async function commandName(pid: number): Promise<string> {
  return (await Deno.readTextFile(`/proc/${pid}/comm`)).trim();
}

/** Whether the launcher has become the runtime, and that has its threads. */
function isRuntime(pid: number): boolean {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].length > 1;
}

async function statusLine(pid: number | "self", name: string): Promise<string> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
}

Deno.test({
  name: "portable file: is one process, called davit",
  ...stageNeeds,
  async fn() {
    await using stage = await setPortableStage("name");
    await using process = await startWaiting(stage);
    assert.equal((await run(["ps", "-o", "comm=", "-p", String(process.pid)])).stdout, "davit\n");
    assert.equal(await statusLine(process.pid, "PPid"), String(Deno.pid));
    const children = await Promise.all(
      (await Array.fromAsync(Deno.readDir(`/proc/${process.pid}/task`)))
        .map(({ name }) => Deno.readTextFile(`/proc/${process.pid}/task/${name}/children`)),
    );
    assert.equal(children.join("").trim(), "");
    await Deno.writeTextFile(process.go, "");
    assert.deepEqual(await process.done, { code: 0, signal: null, stdout: '["done"]\n', stderr: "" });
  },
});

Deno.test({
  name: "portable file: signals act as on any program, ignored ones stay ignored",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("signals");
    for (
      const [signal, number] of [["SIGTERM", 15], ["SIGINT", 2], ["SIGHUP", 1], ["SIGKILL", 9], [
        "SIGUSR1",
        10,
      ]] as const
    ) {
      await t.step(signal, async () => {
        await using process = await startWaiting(stage);
        process.kill(signal);
        const { code, signal: ended, stderr } = await process.done;
        assert.deepEqual([code, ended, stderr], [128 + number, signal, ""]);
      });
      if (signal === "SIGKILL") continue;
      await t.step(`${signal} ignored`, async () => {
        await using process = await startWaiting(stage, `trap "" ${signal.slice(3)}`);
        process.kill(signal);
        await Deno.writeTextFile(process.go, "");
        assert.equal((await process.done).code, 0);
      });
    }
    await t.step("what is ignored, blocked and caught is what deno itself would have", async () => {
      const list = ["run", "grep", "^Sig[BI]", "/proc/self/status"];
      const bundle = stage.dir.join("program.js");
      for (const prelude of ["", 'trap "" HUP PIPE USR2']) {
        const line = (argv: string[]) => ["sh", "-c", `${prelude}\nexec "$@"`, "sh", ...argv, ...list];
        const ours = await run(line([stage.program]), { env: { DAVIT_CACHE: stage.cache } });
        const theirs = await run(line([Deno.execPath(), "run", "-A", bundle]));
        assert.equal(ours.stdout, theirs.stdout);
        assert.equal(ours.stdout.split("\n").length, 3);
      }
    });
  },
});

Deno.test({
  name: "portable file: exit statuses, standard streams, directory, umask and limits pass through",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("passes");
    const env = { DAVIT_CACHE: stage.cache };
    for (const status of [0, 1, 3, 64, 127, 255]) {
      await t.step(`status ${status}`, async () => {
        assert.equal((await stage.runProgram(["run", "/bin/sh", "-c", `exit ${status}`])).code, status);
      });
    }
    await t.step("8 MB through", async () => {
      const bytes = "0123456789abcdef".repeat(1 << 19);
      const { stdout, stderr } = await run([stage.program, "run", "sh", "-c", "cat; echo end >&2"], {
        env,
        stdin: bytes,
      });
      assert.equal(stdout === bytes, true);
      assert.equal(stderr, "end\n");
    });
    await t.step("a reader that goes away", async () => {
      const { stdout } = await run(["bash", "-c", '"$0" run yes | head -n 1', stage.program], { env });
      assert.equal(stdout, "y\n");
    });
    await t.step("directory, umask, limits, niceness", async () => {
      const script =
        'cd /usr/lib; umask 027; ulimit -t 1000; exec nice -n 3 "$0" run sh -c "pwd; umask; ulimit -t; nice"';
      const { stdout } = await run(["sh", "-c", script, stage.program], { env });
      assert.equal(stdout, "/usr/lib\n0027\n1000\n3\n");
    });
    await t.step("a first start under umask 0777", async () => {
      const cache = stage.dir.join("umask");
      const { code, stderr } = await run(["sh", "-c", 'umask 0777; exec "$0" args', stage.program], {
        env: { DAVIT_CACHE: cache },
      });
      assert.deepEqual([code, stderr], [0, ""]);
      assert.equal((await Deno.stat(cache)).mode! & 0o777, 0o700);
    });
  },
});
