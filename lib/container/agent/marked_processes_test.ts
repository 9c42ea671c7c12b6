import assert from "node:assert/strict";
import { needs } from "../../../testdata/needs.ts";
import { run, start } from "../../../testdata/run.ts";
import { MARK, MARKED_SCRIPT, type Scope, type Seen, signalMarked } from "./marked_processes.ts";

type Look = (mark: string, signal: Deno.Signal | null, scope: Scope) => Promise<number>;

/** The ways to find and signal them; each must do the same, and keeps in mind what it found. */
const WAYS: Readonly<Record<string, () => Look>> = {
  "this process": () => {
    const seen: Seen = new Map();
    return (mark, signal, scope) => Promise.resolve(signalMarked(mark, signal, scope, { seen }));
  },
  dash: () => script(["dash"]),
  bash: () => script(["bash"]),
  "busybox sh": () => script(["busybox", "sh"]),
};

function script(shell: readonly string[]): Look {
  const seen = new Set<string>();
  return async (mark, signal, scope) => {
    const words = ["-c", MARKED_SCRIPT, "davit", mark, signal?.slice("SIG".length) ?? "", scope];
    const { code, stdout, stderr } = await run([...shell, ...words, [...seen].join(" ")]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^\d+( \d+:\d+)*\n$/);
    const [count, ...named] = stdout.trim().split(" ");
    assert.equal(Number(count), named.length);
    for (const one of named) seen.add(one);
    return named.length;
  };
}

for (const [name, way] of Object.entries(WAYS)) {
  Deno.test({
    ...needs({ programs: ["dash", "bash", "busybox", "setsid", "grep"] }),
    name: `processes with a mark, and what comes from them, are found and signalled by ${name}`,
    async fn() {
      const look = way();
      const [mark, otherMark] = [crypto.randomUUID(), crypto.randomUUID()];
      // One in the same group, one in a session of its own, one whose environment is gone.
      const tree = "sleep 601 & setsid sleep 602 & env -i sleep 603 & echo up; wait";
      await using wanted = start(["sh", "-c", tree], { env: { [MARK]: mark } });
      await using other = start(["sh", "-c", "echo up; exec sleep 604"], { env: { [MARK]: otherMark } });
      await Promise.all([wanted.waitFor(/up/), other.waitFor(/up/)]);
      await until(async () => await look(mark, null, "all") === 4);
      assert.equal(await way()(crypto.randomUUID(), "SIGKILL", "all"), 0);

      await look(mark, "SIGTERM", "leader");
      await until(async () => await look(mark, null, "all") === 1, "the one in another session stays");
      assert.equal(await look(mark, "SIGKILL", "all"), 1);
      await until(async () => await look(mark, null, "all") === 0);
      assert.equal((await wanted.done).signal, "SIGTERM");
      assert.equal(await way()(otherMark, null, "all"), 1, "another's is left alone");
    },
  });

  Deno.test({
    ...needs({ programs: ["dash", "bash", "busybox", "grep"] }),
    name: `a process without the mark is not lost with its parent, as found by ${name}`,
    async fn() {
      const [look, mark] = [way(), crypto.randomUUID()];
      await using tree = start(["sh", "-c", "env -i sleep 605 & echo up; wait"], { env: { [MARK]: mark } });
      await tree.waitFor(/up/);
      await until(async () => await look(mark, null, "all") === 2);
      tree.kill("SIGKILL");
      await until(async () => await look(mark, null, "all") === 1);
      assert.equal(await look(mark, "SIGKILL", "all"), 1);
      await until(async () => await look(mark, null, "all") === 0);
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
