import assert from "node:assert/strict";
import { listImage, namesIn, setStage, type Stage, STAGE_PROGRAMS } from "../../testdata/import_stage.ts";
import { needs } from "../../testdata/needs.ts";
import { otherUsers } from "../../testdata/other_user.ts";
import { davitArgv, davitEnv, run } from "../../testdata/run.ts";
import { startKnobRegistry } from "../../testdata/knob_registry.ts";
import { makeImage, tarOf } from "../../testdata/make_image.ts";
import { must } from "../../testdata/real_registry.ts";
import { tempDir } from "../../testdata/temp.ts";
import type { ImportResult } from "./import.ts";

const root = needs({ root: true, programs: STAGE_PROGRAMS });

async function imported(stage: Stage, ...more: string[]): Promise<ImportResult> {
  const ended = await stage.start(stage.args("--json", ...more)).done;
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout);
}

function scriptMade(stage: Stage): Promise<string> {
  const argv = [
    "mksquashfs",
    stage.dir.join("bundle", "rootfs"),
    stage.output,
    "-comp",
    "lz4",
    "-no-progress",
  ];
  return must(argv);
}

Deno.test({
  name: "image import: a time limit that is near or past does not cost a hit",
  ...root,
  async fn() {
    await using stage = await setStage();
    await imported(stage);
    for (const end of ["1", String(Math.floor(Date.now() / 1000) + 10)]) {
      const env = { SLURM_JOB_ID: "4711", SLURM_JOB_END_TIME: end };
      assert.equal((await stage.start(stage.args(), { env }).done).code, 0);
      await Deno.remove(`${stage.output}.json`);
      const late = await stage.start(stage.args("--json"), { env }).done;
      assert.equal(late.code, 75);
      assert.match(late.stderr, /"code":"deadline".*4711|4711.*"code":"deadline"/);
      await imported(stage);
    }
  },
});

Deno.test({
  name: "image import: a pre-staged image is a hit for who may only read its directory",
  ...needs({ root: true, programs: [...STAGE_PROGRAMS, "mksquashfs", "unshare", "setpriv"] }),
  async fn(t) {
    await using stage = await setStage();
    await using users = await otherUsers();
    await scriptMade(stage);
    await t.step("read-only mount", async () => {
      const readOnly = [
        "unshare",
        "-m",
        "sh",
        "-euc",
        'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"; exec "$@"',
      ];
      const ended = await run([...readOnly, stage.shared, ...davitArgv(stage.args("--json"))], {
        env: davitEnv(),
      });
      assert.equal(ended.code, 0, ended.stderr);
      const { result, warnings } = JSON.parse(ended.stdout) as ImportResult;
      assert.equal(result, "hit");
      assert.match(warnings.join("\n"), /cannot record/);
    });
    await t.step("another user's directory", async () => {
      const args = stage.args("--json").with(6, "/nonexistent");
      const ended = await run(users.argv(8001, "main.ts", args));
      assert.equal(ended.code, 0, ended.stderr);
    });
    assert.deepEqual(await namesIn(stage.shared), ["image.sqsh"]);
  },
});

Deno.test({
  name: "image import: trouble beside a good image costs a warning",
  ...needs({ root: true, programs: [...STAGE_PROGRAMS, "strace", "setpriv", "unshare"] }),
  async fn(t) {
    await using stage = await setStage();
    await t.step("the sidecar's name is taken by a directory", async () => {
      await Deno.mkdir(`${stage.output}.json`);
      assert.match((await imported(stage)).warnings.join("\n"), /cannot record/);
      assert.equal((await imported(stage)).result, "hit");
      await Deno.remove(`${stage.output}.json`);
      await Deno.remove(stage.output);
    });
    await t.step("the lock file belongs to somebody else, 0600", async () => {
      await using users = await otherUsers();
      await Deno.writeTextFile(`${stage.output}.lock`, "", { mode: 0o600 });
      await Deno.chmod(`${stage.output}.lock`, 0o600);
      await Deno.chmod(stage.shared, 0o777);
      const args = stage.args("--json").with(6, `${stage.shared}/cache`);
      const ended = await run(users.argv(8001, "main.ts", args));
      assert.equal(ended.code, 0, ended.stderr);
      assert.match((JSON.parse(ended.stdout) as ImportResult).warnings.join("\n"), /lock is refused/);
      await Deno.remove(stage.output);
    });
    for (const errno of ["EIO", "ESTALE", "ETIMEDOUT"]) {
      await t.step(`flock says ${errno}`, async () => {
        const strace = [
          "strace",
          "-f",
          "-qq",
          "-o",
          "/dev/null",
          "-e",
          "trace=flock",
          "-e",
          `inject=flock:error=${errno}:when=1`,
        ];
        const ended = await run([...strace, ...davitArgv(stage.args("--json"))], { env: davitEnv() });
        assert.equal(ended.code, 0, ended.stderr);
        await Deno.remove(stage.output);
      });
    }
    await t.step("an fsync that takes longer than the waiters' patience", async () => {
      const strace = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync",
        "-e",
        "inject=fsync:delay_enter=9000000:when=1",
      ];
      const holder = run([...strace, ...davitArgv(stage.args())], { env: davitEnv() });
      for (
        let round = 0;
        round < 500 && !(await namesIn(stage.shared)).includes(".image.sqsh.lock.holder");
        round++
      ) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const waiter = await imported(stage, "--lock-timeout", "5s");
      assert.equal(waiter.result, "waited");
      assert.equal((await holder).code, 0);
    });
  },
});

Deno.test({
  name: "image import: what was asked for decides, not how it was written",
  ...needs({ root: true, programs: [...STAGE_PROGRAMS, "mksquashfs"] }),
  async fn(t) {
    await using stage = await setStage();
    const first = await imported(stage);
    await t.step("the same platform by another name", async () => {
      const name = Deno.build.arch === "aarch64" ? "linux/arm64/v8" : "linux/amd64/v1";
      for (const platform of [name, Deno.build.arch]) {
        assert.equal((await imported(stage, "--platform", platform)).result, "hit");
      }
    });
    await t.step("an adopted image is not taken for a digest that nobody knows it has", async () => {
      for (const name of await namesIn(stage.shared)) await Deno.remove(`${stage.shared}/${name}`);
      await scriptMade(stage);
      const adopted = await imported(stage);
      assert.equal(adopted.result, "hit");
      assert.match(adopted.warnings.join("\n"), /taken for what was asked for/);
      const full = await stage.start(["image", "check", stage.output, "--full"]).done;
      assert.equal(full.code, 0, full.stderr);
      const pinned = stage.args("--json").with(2, stage.uri.replace(":1", `@${first.digest}`));
      const ended = await stage.start(pinned).done;
      assert.equal(ended.code, 0, ended.stderr);
      const { result, digest, attempts } = JSON.parse(ended.stdout) as ImportResult;
      assert.deepEqual([result, digest, attempts], ["imported", first.digest, 1]);
    });
    await t.step("what another host left is cleaned where locks tell that it is dead", async () => {
      const left = `${stage.shared}/.image.sqsh.tmp.deadbeef.4242.0a1b2c3d`;
      const held = `${stage.shared}/.image.sqsh.tmp.deadbeef.4243.0a1b2c3d`;
      for (const path of [left, held]) await Deno.writeTextFile(path, "half");
      using living = await Deno.open(held, { read: true, write: true });
      await living.lock(true);
      await Deno.truncate(stage.output, 1000);
      await imported(stage);
      const names = await namesIn(stage.shared);
      assert.ok(!names.includes(left.split("/").at(-1)!));
      assert.ok(names.includes(held.split("/").at(-1)!));
    });
    assert.equal(await listImage(stage.output), stage.expected);
  },
});

Deno.test({
  name: "image import: the record of the old image goes before the new one comes, and its own comes last",
  ...needs({ root: true, programs: [...STAGE_PROGRAMS, "strace"] }),
  async fn() {
    await using dir = await tempDir("record");
    await using registry = await startKnobRegistry();
    // Of one size and, by the absent creation date, one time, and with equal ends: their superblocks are equal.
    const noise = new Uint8Array(300_000);
    for (let at = 0; at < noise.length; at += 60_000) crypto.getRandomValues(noise.subarray(at, at + 60_000));
    const [one, two] = ["1", "2"].map((version) => {
      const first = noise.slice();
      first[0] = version.charCodeAt(0);
      return makeImage([tarOf({ a: first, b: noise })]);
    });
    registry.add("a/b", "1", one!);
    registry.add("a/b", "2", two!);
    const output = dir.join("x.sqsh");
    const args = ({ digest }: { digest: string }) => [
      ...["import", `${registry.host}/a/b@${digest}`, "-o", output, "--cache-dir", dir.join("cache")],
      ...["--allow-http", registry.host, "--json"],
    ];
    const version = () => must(["sh", "-c", 'unsquashfs -cat "$0" a | head -c 1', output]);
    assert.equal((await run(davitArgv(args(one!)), { env: davitEnv() })).code, 0);
    const trace = dir.join("trace");
    const strace = [
      "strace",
      "-f",
      "-qq",
      "-o",
      trace,
      "-e",
      "trace=rename,renameat,renameat2,unlink,unlinkat",
    ];
    assert.equal((await run([...strace, ...davitArgv(args(two!))], { env: davitEnv() })).code, 0);
    // Whenever it is killed, the record that is there is of the image that is there, or there is none.
    const lines = (await Deno.readTextFile(trace)).split("\n").filter((line) => line.includes(" = 0"));
    const recordGone = lines.findIndex((line) =>
      line.includes("unlink") && line.includes(`"${output}.json"`)
    );
    const imageCame = lines.findIndex((line) => line.includes("rename") && line.includes(`"${output}"`));
    const recordCame = lines.findIndex((line) =>
      line.includes("rename") && line.includes(`"${output}.json"`)
    );
    assert.ok(0 <= recordGone && recordGone < imageCame && imageCame < recordCame, lines.join("\n"));
    assert.equal(await version(), "2");
  },
});
