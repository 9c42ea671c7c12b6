/**
 * `vitals run -- CMD` from the portable file as the ENTRYPOINT of podman containers: PID 1 of its namespace.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Engine, ENGINE_PROGRAMS, IMAGE, startPodman } from "../testdata/engines.ts";
import { needs, privateMounts } from "../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../testdata/portable.ts";
import { must } from "../testdata/real_registry.ts";
import { makeRoot, ROOT_PROGRAMS } from "../testdata/roots.ts";
import { type LiveProcess, run, start } from "../testdata/run.ts";
import { type TempDir, tempDir } from "../testdata/temp.ts";
import { field, linesOf, pick, samples } from "../testdata/vitals_lines.ts";

const RUN = ["vitals", "run", "--interval=200ms"];
const PATIENCE_MS = 60_000;

/** podman, an image of busybox, and davit beside it with a cache that all containers share. */
interface Stage extends AsyncDisposable {
  readonly engine: Engine;
  readonly dir: TempDir;
  /** The command line that runs a shell script under davit in a container of that name. */
  entrypoint(script: string, options?: { name?: string; flags?: readonly string[] }): string[];
}

async function makeStage(): Promise<Stage> {
  const dir = await tempDir("entrypoint");
  const engine = await startPodman();
  await makeRoot("busybox", dir.join("root"), await portableFile());
  await must(["tar", "-C", dir.join("root"), "--exclude=./davit", "-cf", dir.join("root.tar"), "."]);
  await engine.importRoot(dir.join("root.tar"));
  await Deno.mkdir(dir.join("cache"));
  const volumes = [`--volume=${dir.join("root/davit")}:/davit:ro`, `--volume=${dir.join("cache")}:/cache`];
  return {
    engine,
    dir,
    entrypoint: (script, { name, flags = [] } = {}) => [
      ...[...engine.argv, "run", "--rm", "--network=host", ...volumes, "--env=DAVIT_CACHE=/cache"],
      ...[...name === undefined ? [] : [`--name=${name}`], ...flags, IMAGE],
      ...["/davit", ...RUN, "--", "sh", "-c", script],
    ],
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

/** Sends the container's PID 1 a signal. */
async function signal(engine: Engine, container: string, name: string): Promise<void> {
  await must([...engine.argv, "kill", `--signal=${name}`, container]);
}

Deno.test({
  name: "vitals run as a container's ENTRYPOINT, PID 1 from the portable file",
  ...needs({
    root: true,
    programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS, ...ENGINE_PROGRAMS.podman, "script"],
    kernel: [privateMounts],
  }),
  async fn(t) {
    await using stage = await makeStage();
    const { engine, entrypoint } = stage;
    const begin = (...of: Parameters<typeof entrypoint>): LiveProcess =>
      start(entrypoint(...of), { timeoutMs: 2 * PATIENCE_MS });

    await t.step("the exit status is the command's", async (step) => {
      const cases = [
        ...[0, 1, 77, 125, 126, 127, 255].map((code) => [`exit ${code}`, code] as const),
        ["kill -9 $$", 137],
        ["kill -TERM $$", 143],
        ["kill -SEGV $$", 139],
        ["exec /none", 127],
      ] as const;
      for (const [script, expected] of cases) {
        await step.step(script, async () => {
          const { code, stdout, stderr } = await begin(script).done;
          assert.equal(code, expected, stderr);
          const lines = linesOf(stdout);
          assert.equal(field(pick(lines, "start")[0], "mode"), "command");
          assert.equal(field(lines.at(-1), "code"), String(expected));
        });
      }
    });

    await t.step("a command that is not there", async () => {
      const [last, ...before] = entrypoint("").slice(0, -3).reverse();
      const { code, stderr } = await run([...before.reverse(), last!, "/no/such"]);
      assert.equal(code, 127);
      assert.match(stderr, /Cannot start "\/no\/such"/);
    });

    await t.step(
      "orphans are reaped, hundreds of them, until only the command and the probe are left",
      async () => {
        const script = `
        i=0; while [ $i -lt 300 ]; do (sleep 600 & ); i=$((i+1)); done
        children() { grep -l '^PPid:.1$' /proc/[0-9]*/status 2>/dev/null | wc -l; }
        echo "orphans $(children)"; /bin/busybox killall sleep
        i=0; while [ $(children) -gt 2 ]; do i=$((i+1)); [ $i -gt 400 ] && exit 9; sleep 0.1; done; exit 4`;
        const { code, stdout } = await begin(script).done;
        assert.equal(code, 4);
        assert.ok(Number(/orphans (\d+)/.exec(stdout)![1]) > 300, "they were davit's to reap");
      },
    );

    await t.step("every signal reaches the command once, also podman stop's", async () => {
      const names = ["HUP", "INT", "QUIT", "USR1", "USR2", "WINCH", "CONT", "ALRM"];
      const script = `for s in ${names.join(" ")}; do trap "echo got $s." $s; done
        trap 'echo got TERM.; exit 6' TERM; echo ready; while :; do sleep 0.05; done`;
      const name = `davit-${crypto.randomUUID().slice(0, 8)}`;
      await using davit = begin(script, { name });
      await davit.waitFor(/ready/, PATIENCE_MS);
      for (const one of names) {
        await signal(engine, name, one);
        await davit.waitFor(new RegExp(`got ${one}\\.`), PATIENCE_MS);
      }
      await must([...engine.argv, "stop", "--time=20", name]);
      const { code, stdout } = await davit.done;
      assert.equal(code, 6);
      assert.deepEqual(stdout.match(/got \w+/g), [...names, "TERM"].map((one) => `got ${one}`));
      assert.equal(field(linesOf(stdout).at(-1), "code"), "6");
    });

    await t.step("a probe that the job kills changes nothing for the job", async () => {
      const script = `while [ ! -e /cache/kill ]; do sleep 0.1; done
        for p in /proc/[0-9]*; do grep -q -- '--besid[e]=' $p/cmdline && kill -9 \${p#/proc/}; done
        while [ ! -e /cache/end ]; do sleep 0.1; done; exit 3`;
      await using davit = begin(script);
      await davit.waitFor(/kind=start /, PATIENCE_MS);
      await Deno.writeTextFile(stage.dir.join("cache/kill"), "");
      await davit.waitFor(/kind=start [^]*kind=start /, PATIENCE_MS);
      await Deno.writeTextFile(stage.dir.join("cache/end"), "");
      const { code, stdout } = await davit.done;
      assert.equal(code, 3);
      const lines = linesOf(stdout);
      assert.equal(pick(lines, "start").length, 2, "it was started again");
      assert.equal(field(lines.at(-1), "code"), "3");
    });

    await t.step("examples/vitals/Dockerfile, built and run", async () => {
      const { dir } = stage;
      // What it says it is made from; nothing is downloaded.
      const base = "docker.io/library/debian:12-slim";
      await must([...engine.argv, "import", dir.join("root.tar"), base]);
      const example = new URL("../examples/vitals/Dockerfile", import.meta.url);
      await Deno.mkdir(dir.join("context"));
      await Deno.copyFile(example, dir.join("context/Dockerfile"));
      await Deno.copyFile(await portableFile(), dir.join("context/davit"));
      await Deno.writeTextFile(dir.join("context/run.sh"), "#!/bin/sh\nsleep 1\necho worked\nexit 7\n", {
        mode: 0o755,
      });
      await Deno.writeTextFile(dir.join("last"), ""); // as Kubernetes does
      const image = "localhost/davit-example:1";
      const building = ["build", "--pull=never", "--network=none", `--tag=${image}`, dir.join("context")];
      await must([...engine.argv, ...building]);
      const volume = `--volume=${dir.join("last")}:/dev/termination-log`;
      const { code, stdout } = await run([...engine.argv, "run", "--rm", "--network=host", volume, image], {
        timeoutMs: PATIENCE_MS,
      });
      assert.equal(code, 7);
      assert.match(stdout, /^worked$/m);
      assert.equal(field(linesOf(stdout).at(-1), "verdict"), "job_failed");
      assert.match(await Deno.readTextFile(dir.join("last")), /kind=end .*code=7/);
    });

    await t.step("nobody, nothing writable, no capability", async () => {
      const flags = ["--user=8001:8001", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only"];
      await using davit = begin("while [ ! -e /cache/seen ]; do sleep 0.1; done; exit 8", {
        flags: [...flags, "--env=DAVIT_CACHE="],
      });
      await davit.waitFor(samples(3), PATIENCE_MS);
      await Deno.writeTextFile(stage.dir.join("cache/seen"), "");
      const { code, stdout, stderr } = await davit.done;
      assert.equal(code, 8, stderr);
      assert.equal(field(pick(linesOf(stdout), "start")[0], "kmsg"), "absent");
    });

    await t.step("out of memory without a kernel log: the verdict is oom_own", async () => {
      const script = "while [ ! -e /cache/eat ]; do sleep 0.1; done; exec tail -c 2000000000 /dev/zero";
      await using davit = begin(script, { flags: ["--memory=400m"] });
      await davit.waitFor(samples(2), PATIENCE_MS);
      await Deno.writeTextFile(stage.dir.join("cache/eat"), "");
      const { code, stdout, stderr } = await davit.done;
      assert.equal(code, 137, stderr);
      const end = linesOf(stdout).at(-1);
      assert.deepEqual([field(end, "verdict"), field(end, "cmd_signal")], ["oom_own", "SIGKILL"], stdout);
    });

    await t.step(
      "on a terminal: the command has it, Ctrl-C reaches it once, its size is passed on",
      async () => {
        const script = `trap 'echo got INT.; got=1' INT; trap 'echo "size $(stty size)."' WINCH
        tty; echo "read $(stty size)"; read -r word; echo "word $word."
        while [ -z "$got" ]; do sleep 0.1; done; sleep 1; exit 5`;
        const quoted = entrypoint(script, { flags: ["-t", "-i"] })
          .map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
        await Deno.writeTextFile(stage.dir.join("line"), `stty cols 71 rows 19; exec ${quoted}\n`);
        const typist = `
        await() { i=0; while ! grep -q "$1" "$OUT" 2>/dev/null && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; }
        { await 'read '; printf 'hello\\r'; await 'word '; sleep 0.5; printf '\\003'; await kind=end; } |
        script --quiet --return --flush --command "sh $LINE" /dev/null > "$OUT"; echo "status $?"; cat "$OUT"`;
        const env = { OUT: stage.dir.join("out"), LINE: stage.dir.join("line") };
        const { stdout } = await run(["bash", "-c", typist], { env, timeoutMs: 2 * PATIENCE_MS });
        assert.match(stdout, /^status 5\s*$/m);
        assert.match(stdout, /\/dev\/(?:pts\/\d+|console)/);
        assert.match(stdout, /read 19 71/);
        assert.match(stdout, /word hello\./);
        assert.equal(stdout.match(/got INT\./g)?.length, 1, stdout);
      },
    );
  },
});
