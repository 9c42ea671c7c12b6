/**
 * `vitals run` on a machine that falls apart: full disk, no more processes, a clock that is set, memory that is out.
 *
 * @module
 */
import assert from "node:assert/strict";
import { parseLine } from "../lib/vitals/line.ts";
import { readRing } from "../lib/vitals/ring_file.ts";
import { type KernelFeature, needs, privateMounts } from "../testdata/needs.ts";
import { otherUsers } from "../testdata/other_user.ts";
import { davitArgv, davitEnv, run, start, startDavit } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { field, linesOf, pick, samples } from "../testdata/vitals_lines.ts";

const MEMORY_V1 = "/sys/fs/cgroup/memory";

/** A memory controller of cgroup v1 in which groups can be made. */
const memoryGroups: KernelFeature = {
  name: "writable memory cgroups (v1)",
  works() {
    const path = `${MEMORY_V1}/davit-try-${crypto.randomUUID().slice(0, 8)}`;
    try {
      Deno.statSync(`${MEMORY_V1}/memory.limit_in_bytes`);
      Deno.mkdirSync(path);
      Deno.removeSync(path);
      return true;
    } catch {
      return false;
    }
  },
};

Deno.test({
  name:
    "vitals run: a disk that fills up costs its file lines, not the ring, and is said when there is room again",
  ...needs({ root: true, kernel: [privateMounts] }),
  async fn() {
    await using dir = await tempDir("full");
    const script = `
      mount -t tmpfs -o size=1m tmpfs $DIR && mkdir $DIR/d && cd $DIR/d
      "$@" > log 2> err & davit=$!
      i=0; while [ "$(grep -c kind=sample log)" -lt 2 ] && [ $i -lt 400 ]; do sleep 0.05; i=$((i + 1)); done
      until_in() { i=0; while ! grep -aq "$1" $2 && [ $i -lt 400 ]; do sleep 0.05; i=$((i + 1)); done; }
      head -c 2000000 /dev/zero > fill; until_in source_lost ring; sleep 1; rm fill; until_in source_back log; sleep 1
      kill $davit; wait $davit; echo "status $?"; echo "=== log"; cat log; echo "=== ring"; cat ring`;
    const argv = davitArgv(["vitals", "run", "--interval=200ms", "--ring=ring", "--ring-size=128KiB"]);
    const unshare = ["unshare", "--mount", "bash", "-c", script, "bash", ...argv];
    const { stdout } = await run(unshare, { env: davitEnv({ DIR: dir.path }) });
    assert.match(stdout, /^status 0$/m);
    const [, log = "", ring = ""] = stdout.split(/^=== \w+\n/m);
    await Deno.writeTextFile(dir.join("ring"), ring);
    const kept = linesOf((await Array.fromAsync(readRing(dir.join("ring")))).join("\n"));
    const numbers = kept.map((line) => Number(field(line, "seq")));
    assert.deepEqual(numbers, numbers.map((_, index) => numbers[0]! + index), "the ring has every line");
    const [lost] = pick(kept, "event", "source_lost");
    assert.deepEqual([field(lost, "source"), field(lost, "errno")], ["stdout", "ENOSPC"]);
    assert.equal(pick(kept, "event", "source_back").length, 1);
    // The line that was cut at the end of the room comes again, whole. A cut between two pairs does not show.
    const whole = log.trimEnd().split("\n").flatMap((line) => parseLine(line) ?? []);
    const logged = whole.flatMap(({ fields }) => fields.has("seq") ? [Number(fields.get("seq"))] : []);
    assert.ok(log.trimEnd().split("\n").length - numbers.length <= 1);
    assert.deepEqual([...new Set(logged)], numbers);
  },
});

Deno.test({
  name: "vitals run: goes on where no process or thread can be started any more",
  ...needs({ root: true, programs: ["prlimit", "setpriv"], kernel: [privateMounts] }),
  async fn() {
    await using users = await otherUsers();
    const uid = 3_000_000 + Deno.pid;
    const argv = users.argv(uid, "main.ts", ["vitals", "run", "--interval=200ms"]);
    await using davit = start(argv, { env: davitEnv() });
    await davit.waitFor(samples(2));
    const pid = /kind=start [^\n]* pid=(\d+) /.exec(davit.stdout())![1]!;
    // Another user's limits are for CAP_SYS_RESOURCE, which root in a container lacks.
    const asUser = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
    const limited = await run([...asUser, "prlimit", `--pid=${pid}`, "--nproc=1:1"]);
    assert.equal(limited.code, 0, limited.stderr);
    const before = linesOf(davit.stdout()).length;
    const sevenMore = new RegExp(`(?:[^\\n]*\\n){${before}}(?:[^]*?kind=sample ){7}`);
    await davit.waitFor(sevenMore);
    davit.kill("SIGTERM", { group: true });
    const { stdout } = await davit.done;
    assert.equal(linesOf(stdout).at(-1)!.kind, "end");
  },
});

Deno.test({
  name: "vitals run: a clock that is set is said, and disturbs no interval",
  ...needs({ programs: ["cc"] }),
  async fn() {
    await using dir = await tempDir("clock");
    const source = new URL("../testdata/step_clock.c", import.meta.url).pathname;
    const built = await run(["cc", "-shared", "-fPIC", "-O1", "-o", dir.join("step.so"), source]);
    assert.equal(built.code, 0, built.stderr);
    await Deno.writeTextFile(dir.join("step"), "0");
    await using davit = startDavit(["vitals", "run", "--interval=200ms"], {
      env: { LD_PRELOAD: dir.join("step.so"), STEP_FILE: dir.join("step") },
    });
    await davit.waitFor(samples(2));
    await Deno.writeTextFile(dir.join("step"), "3600");
    await davit.waitFor(/event=clock_step/);
    await Deno.writeTextFile(dir.join("step"), "-7200");
    await davit.waitFor(/event=clock_step[^]*event=clock_step[^]*kind=sample/);
    davit.kill("SIGTERM");
    const lines = linesOf((await davit.done).stdout);
    const steps = pick(lines, "event", "clock_step").map((line) => Number(field(line, "delta_ms")));
    assert.deepEqual(steps.map((ms) => Math.round(ms / 1_000)), [3_600, -10_800]);
    const monotonic = pick(lines, "sample").map(({ monoMs }) => monoMs);
    assert.deepEqual(monotonic, monotonic.toSorted((a, b) => a - b));
    assert.equal(pick(lines, "event", "resume").length, 0);
  },
});

Deno.test({
  name: "vitals run -- CMD: the end line says that the command died of its cgroup's memory limit",
  ...needs({ root: true, kernel: [memoryGroups] }),
  async fn(t) {
    const group = `${MEMORY_V1}/davit-run-${crypto.randomUUID().slice(0, 8)}`;
    await Deno.mkdir(group);
    try {
      await Deno.writeTextFile(`${group}/memory.limit_in_bytes`, String(400 << 20));
      for (const command of ["sleep 1.5; exec tail /dev/zero", "exec tail /dev/zero"]) {
        await t.step(command, async () => {
          const argv = davitArgv(["vitals", "run", "--interval=200ms", "--", "sh", "-c", command]);
          const script = `echo $$ > ${group}/cgroup.procs; exec "$@"`;
          await using davit = start(["sh", "-c", script, "sh", ...argv], { env: davitEnv() });
          const { signal, stdout } = await davit.done;
          assert.equal(signal, "SIGKILL");
          const lines = linesOf(stdout);
          const victims = pick(lines, "event", "oom").map((
            line,
          ) => [field(line, "comm"), field(line, "scope")]);
          assert.ok(victims.some(([comm, scope]) => comm === "tail" && scope === "own"), stdout);
          const end = lines.at(-1);
          assert.deepEqual([field(end, "code"), field(end, "cmd_signal")], ["137", "SIGKILL"]);
          assert.equal(field(end, "verdict"), "oom_own");
        });
      }
    } finally {
      await removeGroup(group);
    }
  },
});

/** A group is busy until the kernel has let go of its last process. */
async function removeGroup(path: string): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      return await Deno.remove(path);
    } catch (error) {
      if (tries >= 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
