import assert from "node:assert/strict";
import { must } from "../../testdata/real_registry.ts";
import { needs } from "../../testdata/needs.ts";
import { otherUsers } from "../../testdata/other_user.ts";
import { run, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { Failure } from "../failure.ts";
import { lockOwner, tryLock } from "./flock.ts";

const SNIPPET = new URL("../../testdata/take_lock.ts", import.meta.url).pathname;

function takeLock(path: string): string[] {
  return [Deno.execPath(), "run", "-A", "--no-prompt", "--quiet", SNIPPET, path];
}

Deno.test("tryLock() excludes flock(1), and flock(1) excludes it", async () => {
  await using dir = await tempDir("flock");
  const path = dir.join("image.lock");
  const mine = await tryLock(path);
  assert.equal(mine.kind, "held");
  assert.equal((await run(["flock", "-n", path, "true"])).code, 1);
  assert.equal(await lockOwner(path), Deno.pid);
  assert.equal((await tryLock(path)).kind, "busy");
  if (mine.kind === "held") mine.lock[Symbol.dispose]();
  await using other = start(["flock", path, "sh", "-c", "echo held; exec sleep 60"]);
  await other.waitFor(/held/);
  assert.equal((await tryLock(path)).kind, "busy");
  other.kill("SIGKILL", { group: true });
  await other.done;
  const again = await tryLock(path);
  assert.equal(again.kind, "held", "a dead holder's lock is free");
  if (again.kind === "held") again.lock[Symbol.dispose]();
});

Deno.test("tryLock() makes the file for everybody and never touches its content", async () => {
  await using dir = await tempDir("flock");
  const path = dir.join("image.lock");
  for (const content of [undefined, "written by an old script\n"]) {
    if (content !== undefined) await Deno.writeTextFile(path, content);
    const taken = await tryLock(path);
    assert.equal(taken.kind, "held");
    if (taken.kind === "held") taken.lock[Symbol.dispose]();
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o666);
    assert.equal(await Deno.readTextFile(path), content ?? "");
  }
});

Deno.test("tryLock() does not count a lock on a file that was replaced meanwhile", async () => {
  await using dir = await tempDir("flock");
  const path = dir.join("image.lock");
  const first = await tryLock(path);
  assert.equal(first.kind, "held");
  await Deno.remove(path);
  const second = await tryLock(path);
  assert.equal(second.kind, "held", "the new file is another lock");
  assert.equal((await run(["flock", "-n", path, "true"])).code, 1);
  for (const taken of [first, second]) if (taken.kind === "held") taken.lock[Symbol.dispose]();
});

Deno.test("tryLock() refuses what is not a lock file", async (t) => {
  await using dir = await tempDir("flock");
  await Deno.mkdir(dir.join("directory"));
  await must(["mkfifo", dir.join("fifo")]);
  for (const name of ["directory", "fifo", "missing/image.lock"]) {
    await t.step(name, () => assert.rejects(tryLock(dir.join(name)), Failure));
  }
});

Deno.test({
  name: "tryLock() says how a filesystem refuses locks",
  ...needs({ programs: ["strace"] }),
  async fn(t) {
    await using dir = await tempDir("flock");
    for (const errno of ["ENOLCK", "ENOSYS", "EOPNOTSUPP"]) {
      await t.step(errno, async () => {
        const ended = await run(
          ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", `inject=flock:error=${errno}`]
            .concat(
              takeLock(dir.join("image.lock")),
            ),
        );
        assert.deepEqual(JSON.parse(ended.stdout), { kind: "refused", errno });
      });
    }
  },
});

Deno.test({
  name: "tryLock() works for two users on one lock file, in a sticky directory too",
  ...needs({ root: true, programs: ["setpriv", "unshare"] }),
  async fn(t) {
    await using users = await otherUsers();
    await using dir = await tempDir("flock");
    for (const mode of [0o777, 0o1777]) {
      await t.step(mode.toString(8), async () => {
        const shared = dir.join(`shared-${mode}`);
        await Deno.mkdir(shared);
        await Deno.chmod(shared, mode);
        const path = `${shared}/image.lock`;
        const take = (uid: number) => users.argv(uid, "testdata/take_lock.ts", [path]);
        for (const uid of [8001, 8002]) {
          const ended = await run(["sh", "-c", 'umask 077; exec "$@"', "sh", ...take(uid)]);
          assert.equal(JSON.parse(ended.stdout).kind, "held", ended.stderr);
        }
        const as8001 = ["setpriv", "--reuid=8001", "--regid=8001", "--clear-groups"];
        await using holder = start([...as8001, "flock", path, "sh", "-c", "echo held; exec sleep 60"]);
        await holder.waitFor(/held/);
        const busy = await run(take(8002));
        assert.equal(JSON.parse(busy.stdout).kind, "busy", busy.stderr);
      });
    }
  },
});
