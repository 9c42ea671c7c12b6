/**
 * `vitals run -- CMD` on a terminal, which script(1) makes: whoever types gets exactly what they would get without
 * davit.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { VitalsLine } from "../lib/vitals/line.ts";
import { readRing } from "../lib/vitals/ring_file.ts";
import { needs } from "../testdata/needs.ts";
import { davitArgv, davitEnv, run, type RunResult } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { field, linesOf, pick } from "../testdata/vitals_lines.ts";

/**
 * Runs `command` under davit on a terminal of its own. `typist` is a shell script whose output is typed; it has the
 * function `await FILE`, and both have $DIR. script(1) starts $SHELL, and a dash without `exec` would stay between the
 * terminal and davit, and die of the Ctrl-C.
 */
async function onTerminal(dir: string, command: string, typist: string): Promise<RunResult> {
  const argv = davitArgv([
    "vitals",
    "run",
    "--interval=200ms",
    `--ring=${dir}/ring`,
    "--",
    "sh",
    "-c",
    command,
  ]);
  const quoted = argv.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  await Deno.writeTextFile(`${dir}/davit`, `exec ${quoted}\n`);
  const script = `
    await() { i=0; while [ ! -e "$1" ] && [ $i -lt 600 ]; do sleep 0.05; i=$((i + 1)); done; }
    { ${typist}
      await $DIR/done; } | script --quiet --return --flush --command "exec sh $DIR/davit" /dev/null
    echo "status $?"`;
  return await run(["bash", "-c", script], { env: davitEnv({ DIR: dir }) });
}

/** The terminal echoes ^C into whatever is being printed; the ring has the lines as they were. */
async function ringLines(dir: string): Promise<VitalsLine[]> {
  return linesOf((await Array.fromAsync(readRing(`${dir}/ring`))).join("\n"));
}

const hasScript = needs({ programs: ["script"] });

Deno.test({
  name: "on a terminal Ctrl-C reaches the command once, and so does a SIGINT for davit alone",
  ...hasScript,
  async fn() {
    await using dir = await tempDir("tty-int");
    const { stdout } = await onTerminal(
      dir.path,
      `trap 'echo INT >> $DIR/got; : > $DIR/int$(wc -l < $DIR/got)' INT
       echo $PPID > $DIR/pid
       while [ ! -e $DIR/stop ]; do sleep 0.05; done; : > $DIR/done; exit 5`,
      `await $DIR/pid; sleep 0.5; printf '\\003'; await $DIR/int1
       kill -INT $(cat $DIR/pid); await $DIR/int2; sleep 0.5; : > $DIR/stop`,
    );
    assert.match(stdout, /^status 5\s*$/m);
    assert.equal(await Deno.readTextFile(dir.join("got")), "INT\nINT\n");
    const lines = await ringLines(dir.path);
    assert.equal(pick(lines, "event", "signal").length, 2);
    assert.equal(field(lines.at(-1), "code"), "5");
  },
});

Deno.test({
  name: "on a terminal Ctrl-C ends a command that does not mind, and davit dies of it too",
  ...hasScript,
  async fn() {
    await using dir = await tempDir("tty-die");
    const { stdout } = await onTerminal(
      dir.path,
      ": > $DIR/ready; exec sleep 60",
      `await $DIR/ready; sleep 0.5; printf '\\003'; sleep 2; : > $DIR/done`,
    );
    assert.match(stdout, /^status 130\s*$/m);
    assert.equal(field((await ringLines(dir.path)).at(-1), "cmd_signal"), "SIGINT");
  },
});

Deno.test({
  name: "on a terminal the command can read, knows its size, and is in the foreground",
  ...hasScript,
  async fn() {
    await using dir = await tempDir("tty-read");
    const { stdout } = await onTerminal(
      dir.path,
      `: > $DIR/ready; tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo three; read -r line; echo "read <$line>"
       set -- $(cut -d' ' -f5,8 < /proc/$$/stat); [ "$1" = "$2" ] && echo foreground
       : > $DIR/done; exit 3`,
      `await $DIR/ready; printf 'typed\\n'`,
    );
    for (const says of [/^\/dev\/pts\/\d+\s*$/m, /^three\s*$/m, /^read <typed>\s*$/m, /^foreground\s*$/m]) {
      assert.match(stdout, says);
    }
    assert.match(stdout, /^status 3\s*$/m);
  },
});

Deno.test("a command that is stopped stops davit for its shell, and goes on with it", async () => {
  await using dir = await tempDir("stop");
  const script = `set -m
    state() { sed 's/.*) //' "/proc/$1/stat" | cut -c1; }
    await() { i=0; while ! eval "$1" && [ $i -lt 600 ]; do sleep 0.05; i=$((i + 1)); done; eval "$1"; }
    "$@" > /dev/null 2>&1 & davit=$!
    await '[ -s $DIR/pid ]'; command=$(cat $DIR/pid)
    kill -TSTP $davit
    await '[ "$(state $davit)$(state $command)" = TT ]' && echo stopped
    kill -CONT $davit
    await '[ "$(state $davit)" != T ] && [ "$(state $command)" != T ]' && echo continued
    : > $DIR/stop; wait $davit; echo status $?`;
  const command = "echo $$ > $DIR/pid; while [ ! -e $DIR/stop ]; do sleep 0.05; done; exit 8";
  const argv = davitArgv(["vitals", "run", "--", "sh", "-c", command]);
  const { stdout, stderr } = await run(["bash", "-c", script, "bash", ...argv], {
    env: davitEnv({ DIR: dir.path }),
  });
  assert.equal(stdout, "stopped\ncontinued\nstatus 8\n", stderr);
});
