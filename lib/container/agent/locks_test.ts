import assert from "node:assert/strict";
import { needs } from "../../../testdata/needs.ts";
import { otherUsers } from "../../../testdata/other_user.ts";
import { run, start } from "../../../testdata/run.ts";
import { callHandler } from "../../../testdata/runtime_host.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { Failure } from "../../failure.ts";
import { hostHandlers } from "./handlers.ts";
import { lockDirectory } from "./lock_directory.ts";

const HOLDER = { user: "alice", since: "2026-01-01T00:00:00Z", what: "up" };
const wish = (mode: "exclusive" | "shared", waitMs = 0, name = "c1") => ({
  name,
  mode,
  waitMs,
  holder: HOLDER,
});

Deno.test("lock: one changes, several use, and those who wait are told who holds it", async () => {
  await using dir = await tempDir("locks");
  const open = () => hostHandlers({ env: {}, lockDir: dir.path });
  await using first = open();
  await using second = open();
  const take = async (of: typeof first, ...args: Parameters<typeof wish>) =>
    (await callHandler(of, "lock", wish(...args))).result;

  assert.deepEqual(await take(first, "exclusive"), { kind: "held" });
  assert.deepEqual(await take(first, "exclusive"), { kind: "held" }, "again by the same connection");
  const busy = { kind: "busy", holder: { ...HOLDER, pid: Deno.pid, host: Deno.hostname() } };
  assert.deepEqual(await take(second, "exclusive"), busy);
  assert.deepEqual(await take(second, "shared"), busy);
  assert.deepEqual(await take(second, "exclusive", 0, "c2"), { kind: "held" }, "another container");

  // Into a shared one: others may use it then, none may change it.
  assert.deepEqual(await take(first, "shared"), { kind: "held" });
  assert.deepEqual(await take(second, "shared"), { kind: "held" });
  await using third = open();
  assert.equal((await take(third, "exclusive")).kind, "busy");
  await callHandler(second, "unlock", { name: "c1" });
  await callHandler(second, "unlock", { name: "c1" });
  assert.equal((await take(third, "exclusive")).kind, "busy");
  const waiting = take(third, "exclusive", 60_000);
  await first[Symbol.asyncDispose]();
  assert.deepEqual(await waiting, { kind: "held" }, "freed with its connection");
  const left = (await Array.fromAsync(Deno.readDir(dir.path))).map(({ name }) => name).sort();
  assert.deepEqual(left.filter((name) => /\.lock\.\d/.test(name)).length, 2, left.join(" "));
});

Deno.test("lock: waiting can be aborted, and a dead holder's lock is free", async () => {
  await using dir = await tempDir("locks");
  await using serving = hostHandlers({ env: {}, lockDir: dir.path });
  await using other = start(["flock", dir.join("c1.lock"), "sh", "-c", "echo held; exec sleep 600"]);
  await other.waitFor(/held/);
  const { result } = await callHandler(serving, "lock", wish("exclusive"));
  assert.equal(result.kind, "busy");
  assert.ok(
    result.kind === "busy" && result.holder !== null && result.holder.pid > 0,
    "who is known by /proc/locks",
  );
  const abort = new AbortController();
  const waiting = callHandler(serving, "lock", wish("exclusive", 600_000), { signal: abort.signal });
  abort.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  const again = callHandler(serving, "lock", wish("exclusive", 600_000));
  other.kill("SIGKILL", { group: true });
  assert.deepEqual((await again).result, { kind: "held" });
});

Deno.test("lock: names that lead elsewhere are refused", async () => {
  await using dir = await tempDir("locks");
  await using serving = hostHandlers({ env: {}, lockDir: dir.path });
  for (const name of ["../x", "a/b", "", "-x", ".", "a b", "a\n", "a\0", "x".repeat(200)]) {
    await assert.rejects(callHandler(serving, "lock", wish("shared", 0, name)), (error) => {
      assert.ok(error instanceof Failure && error.code === "bad_params", String(error));
      return true;
    });
  }
});

Deno.test("lockDirectory() makes its directory and does not follow what is planted there", async (t) => {
  await using dir = await tempDir("locks");
  const made = dir.join("made");
  assert.equal(await lockDirectory({ directory: made }), made);
  assert.equal((await Deno.stat(made)).mode! & 0o777, 0o700);
  assert.equal(await lockDirectory({ directory: made }), made);
  const refused = (directory: string, what: RegExp) =>
    assert.rejects(lockDirectory({ directory }), (error) => {
      assert.ok(error instanceof Failure && error.code === "no_lock_directory", String(error));
      assert.match(error.message, what);
      return true;
    });
  await Deno.symlink(made, dir.join("link"));
  await Deno.writeTextFile(dir.join("file"), "");
  await refused(dir.join("link"), /is not a directory/);
  await refused(dir.join("file"), /is not a directory/);
  await refused(dir.join("no", "such"), /cannot be made \(ENOENT\)/);

  await t.step({
    ...needs({ root: true, programs: ["unshare", "setpriv"] }),
    name: "another user's directory is refused, root's open one is not",
    async fn() {
      await Deno.mkdir(dir.join("theirs"));
      await Deno.chown(dir.join("theirs"), 1234, 1234);
      await refused(dir.join("theirs"), /is another user's/);
      await Deno.mkdir(dir.join("open"));
      await Deno.chmod(dir.join("open"), 0o1777);
      await using users = await otherUsers();
      const argv = users.argv(1234, "testdata/lock_directory.ts", [dir.join("open"), made]);
      const { code, stdout, stderr } = await run(argv);
      assert.equal(code, 0, stderr);
      assert.deepEqual(stdout.trim().split("\n"), [dir.join("open"), "no_lock_directory"]);
    },
  });
});
