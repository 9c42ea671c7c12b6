import assert from "node:assert/strict";
import { listImage, namesIn, setStage, type Stage, STAGE_PROGRAMS } from "../../testdata/import_stage.ts";
import { needs } from "../../testdata/needs.ts";
import { otherUsers } from "../../testdata/other_user.ts";
import { davitArgv, davitEnv, run } from "../../testdata/run.ts";
import { must } from "../../testdata/real_registry.ts";
import type { ImportResult } from "./import.ts";
import type { Sidecar } from "./sidecar.ts";

const root = needs({ root: true, programs: STAGE_PROGRAMS });
const traced = needs({ root: true, programs: [...STAGE_PROGRAMS, "strace"] });

async function imported(stage: Stage, ...more: string[]): Promise<ImportResult> {
  const ended = await stage.start(stage.args("--json", ...more)).done;
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout);
}

Deno.test({
  name: "image import: a hit needs no registry, no child and no cache",
  ...root,
  async fn() {
    await using stage = await setStage();
    assert.equal((await imported(stage)).result, "imported");
    await stage.registry[Symbol.asyncDispose]();
    await Deno.remove(stage.cache, { recursive: true });
    const ended = await stage.start(stage.args("--json"), { env: { PATH: "/nonexistent" } }).done;
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal((JSON.parse(ended.stdout) as ImportResult).result, "hit");
    const plain = await stage.start().done;
    assert.equal(plain.stdout, `${stage.output}\n`);
  },
});

Deno.test({
  name: "image import: a damaged file is healed, named and kept, whatever the damage",
  ...root,
  async fn(t) {
    await using stage = await setStage();
    const first = await imported(stage);
    const damages: [string, (path: string) => Promise<void>][] = [
      ["cut", (path) => Deno.truncate(path, first.bytes >> 1)],
      ["padding cut", (path) => Deno.truncate(path, first.bytes - 1)],
      ["junk behind", (path) => Deno.writeTextFile(path, "junk", { append: true })],
      ["empty", (path) => Deno.truncate(path, 0)],
      ["superblock zero", async (path) => {
        using file = await Deno.open(path, { write: true });
        await file.write(new Uint8Array(96));
      }],
    ];
    for (const [name, damage] of damages) {
      await t.step(name, async () => {
        await damage(stage.output);
        const wrong = (await must(["sha256sum", stage.output])).slice(0, 64);
        const again = await imported(stage);
        assert.equal(again.result, "imported");
        assert.equal(again.sha256, first.sha256);
        assert.match(again.warnings.join("\n"), /damaged/);
        const kept = (await namesIn(stage.shared)).filter((file) => file.startsWith(".image.sqsh.bad."));
        const hashes = await Promise.all(kept.map((file) => must(["sha256sum", `${stage.shared}/${file}`])));
        assert.ok(hashes.some((hash) => hash.startsWith(wrong)), "the damaged file is kept");
      });
    }
    await t.step("kept files go after their grace", async () => {
      await Deno.truncate(stage.output, 0);
      await imported(stage, "--grace", "0");
      assert.deepEqual(await namesIn(stage.shared), ["image.sqsh", "image.sqsh.json", "image.sqsh.lock"]);
    });
  },
});

Deno.test({
  name: "image import: what cannot be judged is not touched",
  ...traced,
  async fn(t) {
    await using stage = await setStage();
    await imported(stage);
    const { ino, mtime } = await Deno.stat(stage.output);
    for (const errno of ["EIO", "ESTALE", "EACCES"]) {
      await t.step(errno, async () => {
        const ended = await run(
          ["strace", "-f", "-qq", "-o", "/dev/null", "-P", stage.output, "-e", `inject=openat:error=${errno}`]
            .concat(
              davitArgv(stage.args("--json")),
            ),
          { env: davitEnv() },
        );
        assert.equal(ended.code, 75, ended.stderr);
        assert.match(ended.stderr, /"code":"cannot_tell"/);
        const now = await Deno.stat(stage.output);
        assert.deepEqual([now.ino, now.mtime], [ino, mtime]);
      });
    }
  },
});

Deno.test({
  name:
    "image import: a moved tag is seen with --freshness tag, by one HEAD, and readers keep what they have open",
  ...root,
  async fn(t) {
    await using stage = await setStage();
    const first = await imported(stage, "--freshness", "tag");
    const layout = stage.dir.join("layout");
    await t.step("not moved: one HEAD", async () => {
      const before = stage.registry.requests().length;
      assert.equal((await imported(stage, "--freshness", "tag")).result, "hit");
      assert.deepEqual(stage.registry.requests().slice(before).map((line) => line.split(" ")[0]), ["HEAD"]);
    });
    await must(["umoci", "config", "--image", `${layout}:1`, "--config.env", "MOVED=yes"]);
    await stage.registry.push(layout, "1", "sample:1");
    await t.step(
      "moved, but not asked",
      async () => assert.equal((await imported(stage)).digest, first.digest),
    );
    await t.step("moved", async () => {
      using open = await Deno.open(stage.output);
      const moved = await imported(stage, "--freshness", "tag");
      assert.equal(moved.result, "imported");
      assert.notEqual(moved.digest, first.digest);
      const old = (await namesIn(stage.shared)).find((name) => name.startsWith(".image.sqsh.old."));
      assert.equal((await Deno.stat(`${stage.shared}/${old}`)).ino, (await open.stat()).ino);
    });
    await t.step("a registry that does not answer costs a warning", async () => {
      await stage.registry[Symbol.asyncDispose]();
      const kept = await imported(stage, "--freshness", "tag", "--retries", "0");
      assert.equal(kept.result, "hit");
      assert.match(kept.warnings.join("\n"), /cannot ask/);
    });
  },
});

Deno.test({
  name: "image import: another image at the same path is not taken for the one asked for",
  ...root,
  async fn() {
    await using stage = await setStage();
    const first = await imported(stage);
    await must(["umoci", "config", "--image", `${stage.dir.join("layout")}:1`, "--config.env", "OTHER=yes"]);
    await stage.registry.push(stage.dir.join("layout"), "1", "sample:2");
    const args = stage.args("--json").with(2, stage.uri.replace(":1", ":2"));
    const ended = await stage.start(args).done;
    assert.equal(ended.code, 0, ended.stderr);
    assert.notEqual((JSON.parse(ended.stdout) as ImportResult).digest, first.digest);
    const pinned = stage.args("--json").with(2, stage.uri.replace(":1", `:1@${first.digest}`));
    const again = await stage.start(pinned).done;
    assert.equal((JSON.parse(again.stdout) as ImportResult).digest, first.digest, again.stderr);
  },
});

Deno.test({
  name: "image import: outputs of every kind",
  ...root,
  async fn(t) {
    await using stage = await setStage();
    const to = (output: string, ...more: string[]) =>
      stage.start(stage.args("--json", ...more).with(4, output)).done;
    await t.step("a directory", async () => {
      const ended = await to(stage.dir.path);
      assert.equal(ended.code, 73);
      assert.match(ended.stderr, /is a directory/);
    });
    await t.step("below a missing directory, and with --mkdir", async () => {
      const ended = await to(`${stage.shared}/a/b/x.sqsh`);
      assert.equal(ended.code, 73);
      assert.match(ended.stderr, /--mkdir/);
      assert.equal((await to(`${stage.shared}/a/b/x.sqsh`, "--mkdir", "--mode", "0440")).code, 0);
      assert.equal((await Deno.stat(`${stage.shared}/a/b/x.sqsh`)).mode! & 0o777, 0o440);
    });
    await t.step("a FIFO is refused, not opened", async () => {
      await must(["mkfifo", `${stage.shared}/fifo`]);
      assert.equal((await to(`${stage.shared}/fifo`)).code, 73);
    });
    await t.step("a symlink, also to another directory and to nothing yet, stays one", async () => {
      await Deno.mkdir(`${stage.shared}/real`);
      await Deno.symlink("real/goal.sqsh", `${stage.shared}/link.sqsh`);
      const ended = await to(`${stage.shared}/link.sqsh`);
      assert.equal(ended.code, 0, ended.stderr);
      assert.equal((JSON.parse(ended.stdout) as ImportResult).output, `${stage.shared}/link.sqsh`);
      assert.equal(await Deno.readLink(`${stage.shared}/link.sqsh`), "real/goal.sqsh");
      assert.deepEqual(await namesIn(`${stage.shared}/real`), ["goal.sqsh", "goal.sqsh.json"]);
    });
    await t.step("a symlink loop", async () => {
      await Deno.symlink("loop", `${stage.shared}/loop`);
      assert.equal((await to(`${stage.shared}/loop`)).code, 73);
    });
    await t.step("another filesystem than the cache", async () => {
      const onTmpfs = ["unshare", "-m", "sh", "-euc", 'mkdir -p "$0"; mount -t tmpfs none "$0"; exec "$@"'];
      const argv = davitArgv(stage.args().with(4, `${stage.shared}/tmpfs/x.sqsh`));
      const ended = await run([...onTmpfs, `${stage.shared}/tmpfs`, ...argv], { env: davitEnv() });
      assert.equal(ended.code, 0, ended.stderr);
    });
    await t.step("a relative path", async () => {
      const ended = await stage.start(stage.args().with(4, "relative.sqsh"), { cwd: stage.shared }).done;
      assert.equal(ended.stdout, `${stage.shared}/relative.sqsh\n`, ended.stderr);
    });
    await t.step(
      "a read-only directory with a valid image in it is a hit; without, a clear error",
      async () => {
        const readOnly = (output: string) =>
          run(
            [
              "unshare",
              "-m",
              "sh",
              "-euc",
              'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"; exec "$@"',
              stage.shared,
            ].concat(
              davitArgv(stage.args("--json").with(4, output)),
            ),
            { env: davitEnv() },
          );
        const hit = await readOnly(`${stage.shared}/relative.sqsh`);
        assert.equal(hit.code, 0, hit.stderr);
        const ended = await readOnly(`${stage.shared}/new.sqsh`);
        assert.equal(ended.code, 73, ended.stderr);
        assert.match(ended.stderr, /Read-only file system/);
      },
    );
    await t.step("the lock file that old scripts use", async () => {
      const ended = await to(`${stage.shared}/l.sqsh`, "--lock-file", `${stage.shared}/.locks.lock`);
      assert.equal(ended.code, 0, ended.stderr);
      assert.ok((await namesIn(stage.shared)).includes(".locks.lock"));
      assert.ok(!(await namesIn(stage.shared)).includes("l.sqsh.lock"));
    });
  },
});

Deno.test({
  name: "image import: two users share one directory, one lock and one image",
  ...needs({ root: true, programs: [...STAGE_PROGRAMS, "setpriv", "unshare"] }),
  async fn() {
    await using stage = await setStage();
    await using users = await otherUsers();
    await Deno.chmod(stage.shared, 0o1777);
    await Deno.chmod(stage.dir.path, 0o755);
    const as = (uid: number, ...more: string[]) => {
      const args = stage.args("--json", ...more).with(6, `${stage.shared}/.cache-${uid}`);
      return run(["sh", "-c", 'umask 077; exec "$@"', "sh", ...users.argv(uid, "main.ts", args)]);
    };
    const ends = await Promise.all([8001, 8002, 8001, 8002].map((uid) => as(uid)));
    for (const { code, stderr } of ends) assert.equal(code, 0, stderr);
    const results = ends.map(({ stdout }) => (JSON.parse(stdout) as ImportResult).result);
    assert.equal(results.filter((result) => result === "imported").length, 1);
    const sidecar: Sidecar = JSON.parse(await Deno.readTextFile(`${stage.output}.json`));
    const other = sidecar.uid === 8001 ? 8002 : 8001;
    // Another user's damaged image in a sticky directory: it can neither be linked nor replaced, and that is said.
    await Deno.truncate(stage.output, 100);
    const refused = await as(other);
    assert.equal(refused.code, 77, refused.stderr);
    assert.match(refused.stderr, /"code":"cannot_replace"/);
    assert.equal((await as(sidecar.uid!)).code, 0);
    assert.equal(await listImage(stage.output), stage.expected);
  },
});
