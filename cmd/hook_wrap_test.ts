import assert from "node:assert/strict";
import { davit, startDavit } from "../testdata/run.ts";

const GUESS =
  "[OSDC] Step script exited with code 3. This is a script/workflow error, not an infrastructure issue.";

Deno.test("hook wrap: everything passes but the guess", async () => {
  const script = `cat; echo "::error::Error: RPC heartbeat failed for 60s"; echo "${GUESS}" >&2; exit 3`;
  const stdin = '{"command":"run_script_step","state":null}\n';
  const { code, stdout, stderr } = await davit(["hook", "wrap", "--", "sh", "-c", script], { stdin });
  assert.equal(code, 3);
  assert.equal(stdout, `${stdin}::error::Error: RPC heartbeat failed for 60s\n`);
  assert.match(stderr, /^::error title=Hook server not reachable::.*infrastructure, not of the script.*\n$/);
});

Deno.test("hook wrap: signals go to the hook, and its end is ours", async (t) => {
  for (
    const [name, trap, code, signal] of [
      ["it handles them", "trap 'echo last; exit 130' INT", 130, null],
      ["it does not", "true", 130, "SIGINT"],
    ] as const
  ) {
    await t.step(name, async () => {
      const script = `${trap}; echo ready; while :; do sleep 0.1; done`;
      await using hook = startDavit(["hook", "wrap", "--", "sh", "-c", script], { stdin: "{}\n" });
      await hook.waitFor(/ready/, 30_000);
      hook.kill("SIGINT");
      const end = await hook.done;
      assert.deepEqual([end.code, end.signal], [code, signal]);
      assert.match(end.stderr, /::error title=Step cancelled::/);
    });
  }
});

Deno.test("hook wrap: a hook that cannot be started", async () => {
  const { code, stderr } = await davit(["hook", "wrap", "--", "/no/such/hook"]);
  assert.equal(code, 127);
  assert.match(stderr, /^davit: Cannot start hook "\/no\/such\/hook": there is no such program/);
});
