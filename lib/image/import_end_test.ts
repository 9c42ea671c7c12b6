import assert from "node:assert/strict";
import { listImage, namesIn, setStage, type Stage, STAGE_PROGRAMS } from "../../testdata/import_stage.ts";
import { isAlive } from "../../testdata/alive.ts";
import { needs } from "../../testdata/needs.ts";
import { davitArgv, davitEnv, run, start } from "../../testdata/run.ts";
import type { ImportResult } from "./import.ts";

const root = needs({ root: true, programs: STAGE_PROGRAMS });
const CLEAN = ["image.sqsh", "image.sqsh.json", "image.sqsh.lock"];

/** Process ids below `pid`, by /proc. */
async function descendants(pid: number): Promise<number[]> {
  const { stdout } = await run(["ps", "-o", "pid=", "--ppid", String(pid)]);
  const children = stdout.split("\n").map(Number).filter(Boolean);
  return [...children, ...(await Promise.all(children.map(descendants))).flat()];
}

function isPacking(pid: number): boolean {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes("\0-force\0");
  } catch {
    return false;
  }
}

/** Waits until davit has sqfstar at work, so that a signal comes in the middle of it. */
async function waitForChild(pid: number): Promise<number[]> {
  for (let round = 0; round < 3000; round++) {
    const found = await descendants(pid);
    if (found.some(isPacking)) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("no child appeared");
}

/** A slow import: xz takes its time over random data. */
async function slowStage(): Promise<{ stage: Stage; args: string[] }> {
  const stage = await setStage(48 << 20);
  return { stage, args: stage.args("--json", "--compression", "xz") };
}

Deno.test({
  name: "image import: SIGINT, SIGTERM and SIGHUP end the children, remove the temps, free the lock",
  ...root,
  async fn(t) {
    const { stage, args } = await slowStage();
    await using _stage = stage;
    for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
      await t.step(signal, async () => {
        const job = stage.start(args);
        const children = await waitForChild(job.pid);
        job.kill(signal);
        const ended = await job.done;
        assert.equal(ended.code, code, ended.stderr);
        assert.match(ended.stderr, new RegExp(`Interrupted by ${signal}`));
        assert.deepEqual(children.filter(isAlive), []);
        assert.deepEqual(await namesIn(stage.shared), ["image.sqsh.lock"]);
        assert.equal((await run(["flock", "-n", `${stage.output}.lock`, "true"])).code, 0);
      });
    }
    await t.step("nohup's ignored SIGHUP stays ignored", async () => {
      // Slow enough to be met at work.
      const argv = davitArgv(stage.args("--compression", "gzip"));
      await using job = start(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", ...argv], { env: davitEnv() });
      await waitForChild(job.pid);
      job.kill("SIGHUP");
      const ended = await job.done;
      assert.equal(ended.code, 0, ended.stderr);
    });
  },
});

Deno.test({
  name: "image import: after kill -9 the next run cleans up and succeeds",
  ...root,
  async fn() {
    const { stage, args } = await slowStage();
    await using _stage = stage;
    const job = stage.start(args);
    const [child] = await waitForChild(job.pid);
    // sqfstar makes its output some milliseconds after its start.
    const hasTemp = async () =>
      (await namesIn(stage.shared)).some((name) => name.startsWith(".image.sqsh.tmp."));
    for (let round = 0; round < 3000 && !await hasTemp(); round++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    // Stopped, or it may see the end of its input and remove its file before we look.
    Deno.kill(child!, "SIGSTOP");
    job.kill("SIGKILL");
    await job.done;
    assert.ok(await hasTemp());
    Deno.kill(child!, "SIGCONT");
    const ended = await stage.start().done;
    assert.equal(ended.code, 0, ended.stderr);
    for (let round = 0; round < 3000 && isAlive(child!); round++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.ok(!isAlive(child!), "sqfstar ends when its input does");
    assert.deepEqual(await namesIn(stage.shared), CLEAN);
    assert.equal(
      (await namesIn(`${stage.cache}/blobs/sha256`)).filter((name) => name.startsWith(".")).length,
      0,
    );
  },
});

Deno.test({
  name:
    "image import: a stopped holder: waiters exit 75 naming it, private copies work, afterwards all is well",
  ...root,
  async fn() {
    const { stage, args } = await slowStage();
    await using _stage = stage;
    await using holder = stage.start(args);
    await waitForChild(holder.pid);
    holder.kill("SIGSTOP", { group: true });
    const waiter = await stage.start(stage.args("--json", "--lock-timeout", "2s")).done;
    assert.equal(waiter.code, 75, waiter.stderr);
    assert.match(waiter.stderr, /"code":"lock_timeout"/);
    assert.ok(waiter.stderr.includes(`pid ${holder.pid} on ${Deno.hostname()}`), waiter.stderr);
    const scratch = stage.dir.join("scratch");
    await Deno.mkdir(scratch);
    // The second waits for the copy of the first, which goes on, however slowly.
    const patience = ["--lock-timeout", "3s", "--on-lock-timeout", "private"];
    const more = ["--json", ...patience, "--private-dir", scratch];
    const copies = await Promise.all([1, 2].map(() => stage.start(stage.args(...more)).done));
    for (const { code, stdout, stderr } of copies) {
      assert.equal(code, 0, stderr);
      const { output } = JSON.parse(stdout) as ImportResult;
      assert.equal(output, `${scratch}/davit-0/image.sqsh`);
      assert.equal(await listImage(output), stage.expected);
    }
    assert.equal((await Deno.stat(`${scratch}/davit-0`)).mode! & 0o777, 0o700);
    holder.kill("SIGCONT", { group: true });
    const ended = await holder.done;
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(await listImage(stage.output), stage.expected);
    assert.deepEqual(await namesIn(stage.shared), CLEAN);
  },
});

Deno.test({
  name: "image import: a private directory that is not ours is refused",
  ...root,
  async fn(t) {
    await using stage = await setStage();
    await using holder = start(["flock", `${stage.output}.lock`, "sh", "-c", "echo held; exec sleep 60"]);
    await holder.waitFor(/held/);
    const attempt = async (scratch: string) => {
      const more = ["--json", "--max-wait", "0.2s", "--on-lock-timeout", "private", "--private-dir", scratch];
      const { code, stderr } = await stage.start(stage.args(...more)).done;
      assert.equal(code, 77, stderr);
      assert.match(stderr, /not a directory of our own/);
    };
    await t.step("a symlink", async () => {
      await Deno.mkdir(stage.dir.join("one"));
      await Deno.symlink(stage.shared, stage.dir.join("one", "davit-0"));
      await attempt(stage.dir.join("one"));
    });
    await t.step("another's", async () => {
      await Deno.mkdir(stage.dir.join("two", "davit-0"), { recursive: true });
      await Deno.chown(stage.dir.join("two", "davit-0"), 8001, 8001);
      await attempt(stage.dir.join("two"));
    });
  },
});

Deno.test({
  name: "image import: a full disk names its place and leaves nothing",
  ...needs({ root: true, programs: [...STAGE_PROGRAMS, "unshare"] }),
  async fn(t) {
    await using stage = await setStage(8 << 20);
    const onTmpfs = (mountPoint: string, options: string, ...more: string[]) =>
      run(
        [
          "unshare",
          "-m",
          "sh",
          "-uc",
          `mkdir -p "$0"; mount -t tmpfs -o ${options} none "$0"; "$@"; code=$?; ls -A "$0"; exit $code`,
          mountPoint,
        ]
          .concat(davitArgv(stage.args("--json", ...more))),
        { env: davitEnv() },
      );
    const rows: [string, string, string, RegExp][] = [
      ["cache, seen beforehand", stage.cache, "size=2m", /"code":"no_space".*layer cache/s],
      ["target, seen beforehand", stage.shared, "size=2m", /"code":"no_space".*image's directory/s],
      ["target, inodes", stage.shared, "size=64m,nr_inodes=4", /"code":"no_space".*inodes/s],
    ];
    for (const [name, mountPoint, options, says] of rows) {
      await t.step(name, async () => {
        const ended = await onTmpfs(mountPoint, options);
        assert.equal(ended.code, 74, ended.stderr);
        assert.match(ended.stderr, says);
        assert.ok(ended.stderr.includes(mountPoint));
        assert.doesNotMatch(ended.stdout, /tmp\./);
      });
    }
    await t.step("target, full only in the end", async () => {
      const ended = await onTmpfs(stage.shared, "size=9500k", "--compression", "none");
      assert.equal(ended.code, 74, ended.stderr);
      assert.match(ended.stderr, /"code":"no_space"/);
      assert.equal(ended.stdout, "image.sqsh.lock\n");
    });
    await t.step("fsync says EDQUOT", async () => {
      const ended = await run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EDQUOT"]
          .concat(davitArgv(stage.args("--json"))),
        { env: davitEnv() },
      );
      assert.equal(ended.code, 74, ended.stderr);
      assert.match(ended.stderr, /"code":"no_space".*quota/s);
      assert.deepEqual(await namesIn(stage.shared), ["image.sqsh.lock"]);
    });
  },
});

Deno.test({
  name: "image import: Slurm's time limit is a deadline",
  ...root,
  async fn() {
    const { stage, args } = await slowStage();
    await using _stage = stage;
    const soon = String(Math.floor(Date.now() / 1000) + 38);
    await using job = stage.start(args, { env: { SLURM_JOB_ID: "4711", SLURM_JOB_END_TIME: soon } });
    // Half a minute before the job's end is its end here; stopped, sqfstar cannot be faster.
    Deno.kill((await waitForChild(job.pid)).find(isPacking)!, "SIGSTOP");
    const ended = await job.done;
    assert.equal(ended.code, 75, ended.stderr);
    assert.match(ended.stderr, /"code":"deadline".*|4711/);
    assert.deepEqual(await namesIn(stage.shared), ["image.sqsh.lock"]);
  },
});

Deno.test({
  name: "image import: without sqfstar it says so before it downloads",
  ...root,
  async fn() {
    await using stage = await setStage();
    const ended = await stage.start(stage.args("--json"), { env: { PATH: "/nonexistent" } }).done;
    assert.equal(ended.code, 69, ended.stderr);
    assert.match(ended.stderr, /"code":"missing_program".*4\.5/s);
    assert.deepEqual(stage.registry.requests().filter((line) => /^GET .*sample/.test(line)), []);
  },
});
