import assert from "node:assert/strict";
import { needs } from "../testdata/needs.ts";
import { davitArgv, davitEnv, type LiveProcess, run, start, startDavit } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { field, linesOf, pick, samples } from "../testdata/vitals_lines.ts";

const RUN = ["vitals", "run", "--interval=200ms"];

/** The arguments that run `script` as the command. */
function beside(script: string, flags: readonly string[] = []): string[] {
  return [...RUN, ...flags, "--", "sh", "-c", script];
}

/** Process id of the probe beside the command, from its start line. */
async function probePid(davit: LiveProcess): Promise<number> {
  return Number((await davit.waitFor(/kind=start [^\n]* pid=(\d+) [^\n]*mode=command/, 20_000))[1]);
}

Deno.test("vitals run -- CMD: exit codes, output and environment are the command's, the end line has them too", async (t) => {
  for (const code of [0, 1, 77, 255]) {
    await t.step(`exit ${code}`, async () => {
      await using davit = startDavit(beside(`echo "out $MARK"; cat; echo err >&2; exit ${code}`), {
        env: { MARK: "x y" },
        stdin: "typed\n",
      });
      const result = await davit.done;
      assert.equal(result.code, code);
      assert.match(result.stdout, /^out x y$/m);
      assert.match(result.stdout, /^typed$/m);
      assert.equal(result.stderr, "err\n");
      const lines = linesOf(result.stdout);
      const end = lines.at(-1);
      assert.equal(end?.kind, "end");
      assert.deepEqual([field(end, "reason"), field(end, "code")], ["exit", String(code)]);
      assert.equal(end!.fields.has("verdict"), code !== 0);
    });
  }
});

Deno.test("vitals run -- CMD: dies by the signal that ended the command", async (t) => {
  for (
    const name of [
      "SIGTERM",
      "SIGKILL",
      "SIGINT",
      "SIGQUIT",
      "SIGHUP",
      "SIGSEGV",
      "SIGUSR1",
      "SIGPIPE",
    ] as const
  ) {
    await t.step(name, async () => {
      await using davit = startDavit(beside(`ulimit -c 0; kill -${name.slice(3)} $$`));
      const { signal, stdout } = await davit.done;
      assert.equal(signal, name);
      assert.equal(field(pick(linesOf(stdout), "end")[0], "cmd_signal"), name);
    });
  }
});

Deno.test("vitals run -- CMD: leaves no core of davit beside the command's", async () => {
  await using dir = await tempDir("core");
  const command = "ulimit -S -c 0; kill -SEGV $$";
  // A core_pattern that begins with a pipe or a directory takes cores elsewhere: then nothing shows here.
  const script = 'ulimit -S -c unlimited; cd "$DIR"; "$@"; echo "status $?"; ls -A';
  const argv = davitArgv(beside(command));
  const { stdout } = await run(["sh", "-c", script, "sh", ...argv], { env: davitEnv({ DIR: dir.path }) });
  assert.match(stdout, /^status 139$/m);
  assert.ok(stdout.endsWith("status 139\n"), stdout);
});

Deno.test("vitals run -- CMD: every signal reaches the command once", async () => {
  const names = [
    "HUP",
    "INT",
    "QUIT",
    "USR1",
    "USR2",
    "ALRM",
    "TERM",
    "CONT",
    "WINCH",
    "URG",
    "IO",
    "PWR",
    "XCPU",
  ];
  const script = `for s in ${names.join(" ")}; do trap "echo got $s." $s; done; echo ready
    while [ ! -e "$STOP" ]; do sleep 0.05; done; exit 3`;
  await using dir = await tempDir("signals");
  await using davit = startDavit(beside(script), { env: { STOP: dir.join("stop") } });
  await davit.waitFor(/ready/);
  for (const name of names) {
    davit.kill(`SIG${name}` as Deno.Signal);
    await davit.waitFor(new RegExp(`got ${name}\\.`));
  }
  await Deno.writeTextFile(dir.join("stop"), "");
  const { code, stdout } = await davit.done;
  assert.equal(code, 3);
  assert.deepEqual(stdout.match(/got \w+/g), names.map((name) => `got ${name}`));
  const told = pick(linesOf(stdout), "event", "signal").map((line) => field(line, "name"));
  assert.deepEqual(
    told,
    names.filter((name) => !["CONT", "WINCH"].includes(name)).map((name) => `SIG${name}`),
  );
});

Deno.test("vitals run -- CMD: SIGUSR1 opens no debugger, neither in davit nor in the probe", async () => {
  await using davit = startDavit(beside('trap "echo got USR1." USR1; while :; do sleep 0.05; done'));
  const pid = await probePid(davit);
  // Deno 2.9.6 begins to listen for the signal half a second after its start.
  await davit.waitFor(samples(6));
  davit.kill("SIGUSR1");
  Deno.kill(pid, "SIGUSR1");
  await davit.waitFor(/got USR1\./);
  await davit.waitFor(samples(9));
  for (const process of [davit.pid, pid]) assert.deepEqual(await listeningPorts(process), []);
  davit.kill("SIGTERM");
  assert.equal((await davit.done).signal, "SIGTERM");
});

/** Ports at which a process listens on TCP; proc(5), net/tcp, state 0A. */
async function listeningPorts(pid: number): Promise<number[]> {
  const sockets = new Set<string>();
  for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(await Deno.readLink(`/proc/${pid}/fd/${name}`).catch(() => ""))
      ?.[1];
    if (inode !== undefined) sockets.add(inode);
  }
  const table = await Deno.readTextFile(`/proc/${pid}/net/tcp`);
  return table.split("\n").map((row) => row.trim().split(/\s+/))
    .filter((row) => row[3] === "0A" && sockets.has(row[9] ?? ""))
    .map((row) => parseInt(row[1]!.split(":")[1]!, 16));
}

Deno.test("vitals run -- CMD: kill -9 of the probe leaves the command alone, and another one takes over", async () => {
  await using dir = await tempDir("probe-kill");
  await using davit = startDavit(beside(`while [ ! -e ${dir.path}/stop ]; do sleep 0.05; done; exit 11`));
  const pid = await probePid(davit);
  assert.notEqual(pid, davit.pid);
  assert.ok(Number(await Deno.readTextFile(`/proc/${pid}/oom_score_adj`)) >= 900);
  Deno.kill(pid, "SIGKILL");
  await davit.waitFor(/kind=start [^]*kind=start /, 30_000);
  await Deno.writeTextFile(dir.join("stop"), "");
  const { code, stdout, stderr } = await davit.done;
  assert.equal(code, 11);
  assert.match(stderr, /no vitals for now.*SIGKILL.*started again/);
  const lines = linesOf(stdout);
  assert.equal(pick(lines, "start").length, 2);
  assert.equal(field(lines.at(-1), "code"), "11");
});

Deno.test("vitals run -- CMD: a probe that was killed in the last moment is replaced by one that says the end", async () => {
  await using dir = await tempDir("late-kill");
  const script =
    `while [ ! -s ${dir.path}/pid ]; do sleep 0.05; done; kill -9 $(cat ${dir.path}/pid); exit 13`;
  await using davit = startDavit(beside(script));
  await Deno.writeTextFile(dir.join("pid"), String(await probePid(davit)));
  const { code, stdout } = await davit.done;
  assert.equal(code, 13);
  assert.equal(field(linesOf(stdout).at(-1), "code"), "13");
});

Deno.test("vitals run -- CMD: a broken pipe of davit's own is no signal for the command", async (t) => {
  await t.step("to the probe", async () => {
    await using dir = await tempDir("own-pipe");
    const script = `for s in PIPE USR1; do trap "echo $s >> ${dir.path}/got" $s; done; echo ready
      while [ ! -e ${dir.path}/stop ]; do sleep 0.05; done; exit 14`;
    await using davit = startDavit(beside(script));
    await davit.waitFor(/ready/);
    const pid = await probePid(davit);
    for (let round = 0; round < 5; round++) {
      if (round === 0) Deno.kill(pid, "SIGKILL");
      davit.kill("SIGUSR1");
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    const got = async () => await Deno.readTextFile(dir.join("got")).catch(() => "");
    while (await got() === "") await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 500));
    await Deno.writeTextFile(dir.join("stop"), "");
    assert.equal((await davit.done).code, 14);
    assert.deepEqual(
      new Set((await Deno.readTextFile(dir.join("got"))).trim().split("\n")),
      new Set(["USR1"]),
    );
  });
  await t.step("to a stderr whose reader is gone", async () => {
    await using dir = await tempDir("own-stderr");
    const script = `i=0; while [ ! -s ${dir.path}/pid ]; do
        sed -n 's/.*kind=start .* pid=\\([0-9]*\\) .*/\\1/p' ${dir.path}/out > ${dir.path}/pid; sleep 0.05; done
      kill -9 $(cat ${dir.path}/pid); sleep 1; exit 15`;
    const shell = `"$@" > ${dir.path}/out 2> >(exec true); echo "status $?"`;
    const argv = ["bash", "-c", shell, "bash", ...davitArgv(beside(script))];
    assert.equal((await run(argv, { env: davitEnv() })).stdout, "status 15\n");
  });
});

Deno.test("vitals run -- CMD: the probe ends when its parent is killed", async () => {
  await using dir = await tempDir("parent-kill");
  await using davit = startDavit(beside(`while [ ! -e ${dir.path}/stop ]; do sleep 0.05; done`));
  await probePid(davit);
  await davit.waitFor(/kind=sample/);
  davit.kill("SIGKILL");
  // The command lives on and holds stdout.
  await davit.waitFor(/kind=end [^\n]*reason=stopped/, 30_000);
  await Deno.writeTextFile(dir.join("stop"), "");
  const { signal, stdout } = await davit.done;
  assert.equal(signal, "SIGKILL");
  assert.equal(pick(linesOf(stdout), "end").length, 1);
});

Deno.test("vitals run -- CMD: nohup holds for the command", async () => {
  const script = 'trap "" HUP; exec "$@"';
  const argv = davitArgv(beside("kill -HUP $$; exit 21"));
  const { code } = await run(["sh", "-c", script, "sh", ...argv], { env: davitEnv() });
  assert.equal(code, 21);
});

Deno.test({
  name: "vitals run -- CMD as PID 1: orphans are reaped, signals passed on, the command's end is ours",
  ...needs({ root: true, programs: ["unshare", "ps"] }),
  async fn(t) {
    const unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    const asInit = (script: string) => start([...unshare, ...davitArgv(beside(script))], { env: davitEnv() });
    await t.step("two hundred orphans", async () => {
      await using davit = asInit(`
        i=0; while [ $i -lt 200 ]; do (sh -c "sleep 0.$((i % 10)); exit $((i % 256))" &) ; i=$((i + 1)); done
        left() { ps -eo stat=,comm= | grep -Ec '^Z|sleep'; }
        i=0; while [ $(left) -gt 0 ] && [ $i -lt 300 ]; do i=$((i + 1)); sleep 0.1; done
        echo "left: $(left)"; exit 9`);
      const { code, stdout } = await davit.done;
      assert.equal(code, 9);
      assert.match(stdout, /^left: 0$/m);
      assert.equal(field(linesOf(stdout).at(-1), "code"), "9");
    });
    await t.step("SIGTERM", async () => {
      await using davit = asInit(
        'trap "echo got TERM; exit 5" TERM; echo ready; while :; do sleep 0.05; done',
      );
      await davit.waitFor(/ready/);
      Deno.kill(await onlyChild(davit.pid), "SIGTERM");
      const { code, stdout } = await davit.done;
      assert.equal(code, 5, stdout);
      assert.equal(stdout.match(/got TERM/g)?.length, 1);
    });
    await t.step("a command that a signal ends", async () => {
      await using davit = asInit("kill -9 $$");
      const { code, stdout } = await davit.done;
      assert.equal(code, 137);
      assert.equal(field(linesOf(stdout).at(-1), "cmd_signal"), "SIGKILL");
    });
  },
});

async function onlyChild(pid: number): Promise<number> {
  return Number(await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`));
}
