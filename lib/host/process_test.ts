import assert from "node:assert/strict";
import { endGroup, endOf } from "./process.ts";

function shell(script: string): Deno.ChildProcess {
  return new Deno.Command("sh", { args: ["-c", script], detached: true, stdin: "null", stdout: "piped" })
    .spawn();
}

/** Waits for the first line of a child, so that it has come as far as that. */
async function firstLine(child: Deno.ChildProcess): Promise<string> {
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return new TextDecoder().decode(value).trim();
}

/** Whether the process still runs; a zombie does not. */
async function lives(pid: number): Promise<boolean> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => ""); // gone
  return stat !== "" && !/\) Z/.test(stat);
}

Deno.test({
  name: "endOf() tells codes and signals, real-time ones too",
  // Deno never lets go of a child that a real-time signal ended.
  sanitizeResources: false,
  async fn() {
    for (const [script, code] of [["exit 7", 7], ["kill -9 $$", 137], ["kill -35 $$", 163]] as const) {
      const child = shell(script);
      assert.equal((await endOf(child)).code, code);
      await child.stdout.cancel();
    }
  },
});

Deno.test("endGroup() ends a child and its children", async (t) => {
  const cases: [what: string, script: string, graceMs: number, signal: string][] = [
    ["that go when asked", "sleep 100 & echo $!; wait", 20_000, "SIGTERM"],
    ["that ignore SIGTERM", "trap '' TERM; sleep 100 & echo $!; wait", 100, "SIGKILL"],
    [
      "where only the grandchild ignores SIGTERM",
      "(trap '' TERM; exec sleep 100) & sleep 0.2; echo $!; wait",
      20_000,
      "SIGTERM",
    ],
    ["that are stopped", "sleep 100 & echo $!; kill -STOP $$", 20_000, "SIGTERM"],
  ];
  for (const [what, script, graceMs, signal] of cases) {
    await t.step(what, async () => {
      const child = shell(script);
      const grandchild = Number(await firstLine(child));
      assert.ok(await lives(grandchild));
      assert.equal((await endGroup(child, { graceMs })).signal, signal);
      const deadline = Date.now() + 30_000;
      while (await lives(grandchild) && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.equal(await lives(grandchild), false);
    });
  }
});

Deno.test("endGroup() is content with a child that has ended", async () => {
  const child = shell("exit 3");
  await child.status;
  await child.stdout.cancel();
  assert.equal((await endGroup(child, { graceMs: 1_000 })).code, 3);
});
