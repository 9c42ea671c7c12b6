import assert from "node:assert/strict";
import { listImage, namesIn, setStage, type Stage, STAGE_PROGRAMS } from "../../testdata/import_stage.ts";
import { needs } from "../../testdata/needs.ts";
import { davitArgv, davitEnv, run } from "../../testdata/run.ts";
import { must } from "../../testdata/real_registry.ts";
import { tempDir } from "../../testdata/temp.ts";

const traced = needs({ root: true, programs: [...STAGE_PROGRAMS, "strace"] });
const CLEAN = ["image.sqsh", "image.sqsh.json", "image.sqsh.lock"];
const TIMEOUT_MS = 120_000;
const SOURCE = decodeURIComponent(new URL("../../main.ts", import.meta.url).pathname);
/** strace counts calls per thread, so a walk ends when no thread of a run gets as far as N. */
const WALKS = [
  "rename,renameat,renameat2",
  "link,linkat",
  "unlink,unlinkat",
  "fsync,fdatasync",
  "ftruncate,fchmod,chmod,fchmodat",
  "openat",
  "write,pwrite64,writev",
];

/**
 * davit in one file, as the portable file carries it: from source its main thread opens 590 files before davit's own,
 * from the bundle 50, and each of them is a step of the walk (9.5 minutes).
 */
async function bundleDavit(path: string): Promise<string> {
  await must([Deno.execPath(), "bundle", "--quiet", "--platform", "deno", "-o", path, SOURCE]);
  return path;
}

/** Runs davit from `main` until a thread's N-th of `calls`, where it is killed; gives its exit status. */
async function killedAt(main: string, stage: Stage, calls: string, when: number): Promise<number> {
  const strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", `trace=${calls}`];
  const inject = ["-e", `inject=${calls}:signal=SIGKILL:when=${when}`];
  const argv = [...strace, ...inject, ...from(main, stage.args("--grace", "0", "--lock-timeout", "20s"))];
  return (await run(argv, { env: davitEnv(), timeoutMs: TIMEOUT_MS })).code;
}

function from(main: string, args: readonly string[]): string[] {
  return davitArgv(args).map((word) => word === SOURCE ? main : word);
}

/** Kills at every second call from `first` on until a run completes; gives how often it killed. */
async function walk(main: string, stage: Stage, calls: string, first: number): Promise<number> {
  for (let kills = 0;; kills++) {
    const when = first + 2 * kills;
    assert.ok(when < 5000, "the walk ends");
    // A damaged image, so that the path over quarantine and replacement is walked.
    await Deno.truncate(stage.output, 5000);
    if (await killedAt(main, stage, calls, when) === 0) return kills;
    const argv = from(main, stage.args("--grace", "0"));
    const next = await run(argv, { env: davitEnv(), timeoutMs: TIMEOUT_MS });
    assert.equal(next.code, 0, `after a kill at call ${when}: ${next.stderr}`);
    assert.deepEqual(await namesIn(stage.shared), CLEAN, `after a kill at call ${when}`);
  }
}

Deno.test({
  name: "image import: killed at any step of publishing, the next run succeeds and leaves nothing behind",
  ...traced,
  async fn(t) {
    await using dir = await tempDir("walk");
    const main = await bundleDavit(dir.join("main.js"));
    await using odd = await setStage(1 << 20);
    await using even = await setStage(1 << 20);
    const lanes = [odd, even];
    for (const stage of lanes) {
      const first = await stage.start().done;
      assert.equal(first.code, 0, first.stderr);
    }
    for (const calls of WALKS) {
      await t.step(calls, async () => {
        // Most of a run is waiting for a disk and for others' threads: two walk faster.
        const kills = await Promise.all(lanes.map((stage, index) => walk(main, stage, calls, 1 + index)));
        assert.ok(kills[0]! > 0, "something was killed");
        for (const stage of lanes) assert.equal(await listImage(stage.output), stage.expected);
      });
    }
  },
});

Deno.test({
  name:
    "image import: killed while downloading, the next run succeeds and leaves nothing behind in the cache",
  ...traced,
  async fn() {
    await using stage = await setStage(1 << 20);
    for (const when of [1, 2, 3, 4, 6, 9]) {
      await Deno.remove(stage.cache, { recursive: true }).catch(() => {});
      for (const name of await namesIn(stage.shared)) await Deno.remove(`${stage.shared}/${name}`);
      await killedAt(SOURCE, stage, "rename,renameat,renameat2", when);
      const next = await stage.start().done;
      assert.equal(next.code, 0, `after a kill at rename ${when}: ${next.stderr}`);
      assert.deepEqual(await namesIn(stage.shared), CLEAN);
      assert.deepEqual(
        (await namesIn(`${stage.cache}/blobs/sha256`)).filter((name) => name.startsWith(".")),
        [],
      );
    }
  },
});

Deno.test({
  name: "image import: 30 processes, some of them killed at random, and the rest never fail",
  ...traced,
  async fn() {
    await using stage = await setStage(16 << 20);
    for (let round = 0; round < 3; round++) {
      for (const name of await namesIn(stage.shared)) await Deno.remove(`${stage.shared}/${name}`);
      const jobs = Array.from({ length: 30 }, () => stage.start(stage.args("--json")));
      const victims = new Set(
        Array.from({ length: 8 }, () => jobs[Math.floor(Math.random() * jobs.length)]!),
      );
      for (const victim of victims) {
        await new Promise((resolve) => setTimeout(resolve, 300));
        victim.kill("SIGKILL", { group: true });
      }
      for (const job of jobs) {
        const { code, stderr } = await job.done;
        if (!victims.has(job)) assert.equal(code, 0, stderr);
      }
      const last = await stage.start(stage.args("--grace", "0")).done;
      assert.equal(last.code, 0, last.stderr);
      assert.equal(await listImage(stage.output), stage.expected);
    }
  },
});
