import assert from "node:assert/strict";
import { isAlive, untilEnded } from "../testdata/alive.ts";
import { jobServer } from "../testdata/hook_jobs.ts";
import { tempDir } from "../testdata/temp.ts";

/** A tree of which one process has lost its environment. */
const TREE = `echo $$ >"$1/sh"; env -i PATH="$PATH" sh -c 'echo $$ >"$0"; exec sleep 1000' "$1/bare" &
setsid sleep 1000 & echo $! >"$1/setsid"; echo ready; wait`;

/** Starts a server, a tree on it, and kills the server. */
async function orphanTree(
  flags: readonly string[],
  dir: string,
): Promise<{ pids: number[]; pid: number }> {
  await using server = await jobServer({ flags });
  await server.start({ argv: ["sh", "-c", TREE, "sh", dir] }, "lost");
  while ((await server.status()).job?.last_seq === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  const names = ["sh", "bare", "setsid"];
  const pids: number[] = [];
  while (pids.filter((pid) => pid > 0).length < names.length) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const texts = await Promise.all(names.map((name) => Deno.readTextFile(`${dir}/${name}`).catch(() => "")));
    pids.splice(0, names.length, ...texts.map(Number));
  }
  server.process.kill("SIGKILL");
  await server.process.done;
  return { pids, pid: server.process.pid };
}

Deno.test("hook serve: what a killed server left is ended by its successor, and the next step works", async () => {
  await using dir = await tempDir("left");
  const flags = [`--socket=${dir.join("davit.sock")}`];
  const { pids, pid } = await orphanTree(flags, dir.path);
  assert.deepEqual(pids.map(isAlive), [true, true, true]);
  await using next = await jobServer({ flags });
  for (const one of pids) await untilEnded(one);
  const [notice] = (await next.status()).notices;
  assert.match(
    notice!,
    new RegExp(
      `^job "lost" of a hook server that is gone \\(process ${pid}\\) still runs, it is ended now: `,
    ),
  );
  for (const one of pids) assert.match(notice!, new RegExp(`\\b${one} \\(`));
  assert.equal((await next.sh("exit 3")).result.code, 3);
  const unknown = await next.client.ask("GET", "/v1/jobs/lost");
  assert.equal(unknown.status, 404);
});

Deno.test("hook serve: what another address's server left is only told about", async () => {
  await using dir = await tempDir("left");
  const { pids } = await orphanTree([], dir.path);
  try {
    await using other = await jobServer();
    const { notices } = await other.status();
    assert.ok(
      notices.some((text) => /still runs, it is left alone: /.test(text) && text.includes(`${pids[0]} (`)),
      notices.join("\n"),
    );
    assert.deepEqual(pids.map(isAlive), [true, true, true]);
  } finally {
    for (const pid of pids) Deno.kill(pid, "SIGKILL");
    for (const pid of pids) await untilEnded(pid);
  }
});

Deno.test("hook serve: the jobs of a server that lives are nobody else's", async () => {
  await using one = await jobServer();
  const { id } = await one.start({ argv: ["sleep", "1000"] });
  await using other = await jobServer();
  const { notices } = await other.status();
  assert.ok(!notices.some((text) => text.includes(`"${id}"`)), notices.join("\n"));
  assert.equal((await one.status()).job?.id, id);
});
