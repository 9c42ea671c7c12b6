import assert from "node:assert/strict";
import { needs } from "../../../testdata/needs.ts";
import { run, start } from "../../../testdata/run.ts";
import { MARK, MARKED_SCRIPT, type Scope, signalMarked } from "./marked_processes.ts";

type Look = (mark: string, signal: Deno.Signal | null, scope: Scope) => Promise<number>;

/** The ways to find and signal them; each must do the same. */
const LOOKS: Readonly<Record<string, Look>> = {
  "this process": (mark, signal, scope) => Promise.resolve(signalMarked(mark, signal, scope)),
  dash: (...args) => script(["dash"], ...args),
  bash: (...args) => script(["bash"], ...args),
  "busybox sh": (...args) => script(["busybox", "sh"], ...args),
};

async function script(shell: readonly string[], mark: string, signal: Deno.Signal | null, scope: Scope) {
  const words = ["-c", MARKED_SCRIPT, "davit", mark, signal?.slice("SIG".length) ?? "", scope];
  const { code, stdout, stderr } = await run([...shell, ...words]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^\d+\n$/);
  return Number(stdout);
}

for (const [name, look] of Object.entries(LOOKS)) {
  Deno.test({
    ...needs({ programs: ["dash", "bash", "busybox", "setsid", "grep"] }),
    name: `processes with a mark, and what comes from them, are found and signalled by ${name}`,
    async fn() {
      const [mark, otherMark] = [crypto.randomUUID(), crypto.randomUUID()];
      // One in the same group, one in a session of its own, one whose environment is gone.
      const tree = "sleep 601 & setsid sleep 602 & env -i sleep 603 & echo up; wait";
      await using wanted = start(["sh", "-c", tree], { env: { [MARK]: mark } });
      await using other = start(["sh", "-c", "echo up; exec sleep 604"], { env: { [MARK]: otherMark } });
      await Promise.all([wanted.waitFor(/up/), other.waitFor(/up/)]);
      await until(async () => await look(mark, null, "all") === 4);
      assert.equal(await look(crypto.randomUUID(), "SIGKILL", "all"), 0);

      await look(mark, "SIGTERM", "leader");
      await until(async () => await look(mark, null, "all") === 1, "the one in another session stays");
      assert.equal(await look(mark, "SIGKILL", "all"), 1);
      await until(async () => await look(mark, null, "all") === 0);
      assert.equal((await wanted.done).signal, "SIGTERM");
      assert.equal(await look(otherMark, null, "all"), 1, "another's is left alone");
    },
  });
}

async function until(holds: () => Promise<boolean>, what = "it comes about"): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!await holds()) {
    assert.ok(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
