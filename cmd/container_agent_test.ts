import assert from "node:assert/strict";
import { isAlive } from "../testdata/alive.ts";
import { davitArgv, davitEnv, start } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { testPeer } from "../testdata/test_peer.ts";
import { VERSION } from "../lib/version.ts";

/** `container agent` as another davit starts it; `sh` first tells its pid. */
async function startAgent(pidFile: string) {
  const { DENO_DIR } = davitEnv();
  const line = ["sh", "-c", 'echo $$ >"$0"; exec "$@"', pidFile, ...davitArgv(["container", "agent"])];
  const env = { DENO_DIR: DENO_DIR!, DAVIT_CONTAINER_LOCK_DIR: `${pidFile}.locks` };
  const peer = await testPeer({ argv: line as [string, ...string[]], env });
  return { peer, pid: Number(await Deno.readTextFile(pidFile)) };
}

const HOLDER = { user: "somebody", since: "2026-01-01T00:00:00.000Z", what: "up" };
const LOCK = { name: "box", mode: "exclusive", waitMs: 0, holder: HOLDER };

Deno.test("the agent serves over its pipes, survives Ctrl-C, and its locks end with the connection", async (t) => {
  await using dir = await tempDir("agent");
  const { peer, pid } = await startAgent(dir.join("pid"));
  try {
    await t.step("it says who it is", async () => {
      const { version, hostname } = await peer.call("hello", { version: VERSION }) as Record<string, string>;
      assert.deepEqual([version, hostname], [VERSION, Deno.hostname()]);
    });
    await t.step("bad parameters and unknown methods are failures, not its end", async () => {
      await assert.rejects(peer.call("lock", { name: 7 }), { code: "bad_params" });
      await assert.rejects(peer.call("shell", "rm -rf /"), { code: "unknown_method" });
    });
    await t.step("SIGINT of a shared terminal is not for it", async () => {
      Deno.kill(pid, "SIGINT");
      assert.deepEqual(await peer.call("lock", LOCK), { kind: "held" });
    });
    await t.step("a lock is held against another agent while the connection lives", async () => {
      const other = await startAgent(dir.join("pid"));
      const busy = await other.peer.call("lock", LOCK) as { kind: string; holder: { pid: number } };
      assert.deepEqual([busy.kind, busy.holder.pid], ["busy", pid]);
      await peer.close();
      assert.equal(isAlive(pid), false);
      assert.deepEqual(await other.peer.call("lock", { ...LOCK, waitMs: 60_000 }), { kind: "held" });
      await other.peer.close();
    });
  } finally {
    await peer.close();
  }
});

Deno.test("the agent ends with its input, and at SIGTERM, and prints nothing but the wire", async (t) => {
  await t.step("no caller at all", async () => {
    const { DENO_DIR } = davitEnv();
    const agent = start(davitArgv(["container", "agent"]), { env: davitEnv({ DENO_DIR }) });
    const { code, stdout, stderr } = await agent.done;
    assert.deepEqual([code, stdout, stderr], [0, "\ndavit-agent-wire 1\n", ""]);
  });
  await t.step("SIGTERM", async () => {
    await using dir = await tempDir("agent");
    const { peer, pid } = await startAgent(dir.join("pid"));
    Deno.kill(pid, "SIGTERM");
    assert.equal((await peer.closed as { code?: string } | undefined)?.code, "connection_lost");
    assert.equal(isAlive(pid), false);
  });
});
