import assert from "node:assert/strict";
import { run, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { Failure } from "../failure.ts";
import { Activity } from "./activity.ts";
import { tryLock } from "./flock.ts";
import { HolderBeat, type Identity, readHolderStatus } from "./holder_status.ts";
import { silent } from "./log.ts";
import { type SingleFlightOptions, takeTurn } from "./single_flight.ts";

const identity: Identity = {
  host: "node-1",
  pid: Deno.pid,
  uid: Deno.uid(),
  job: "4711",
  what: "docker://x/y:1",
};

function optionsIn(
  path: string,
  changes: Partial<SingleFlightOptions<string>> = {},
): SingleFlightOptions<string> {
  return {
    lockPath: `${path}/image.lock`,
    statusPath: `${path}/.image.lock.holder`,
    identity: { ...identity, host: Deno.hostname() },
    lockTimeoutMs: 60_000,
    maxWaitMs: undefined,
    find: () => Promise.resolve(undefined),
    foreignProgress: () => Promise.resolve(""),
    activity: new Activity(),
    signal: new AbortController().signal,
    log: silent,
    ...changes,
  };
}

Deno.test("takeTurn() gives the turn to one of many, one after the other", async () => {
  await using dir = await tempDir("flight");
  let inside = 0;
  let most = 0;
  const turns = Array.from({ length: 12 }, async () => {
    const flight = await takeTurn(optionsIn(dir.path));
    assert.equal(flight.kind, "mine");
    most = Math.max(most, ++inside);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inside--;
    if (flight.kind === "mine") await flight.release();
  });
  await Promise.all(turns);
  assert.equal(most, 1);
  assert.deepEqual((await Array.fromAsync(Deno.readDir(dir.path))).map(({ name }) => name), ["image.lock"]);
});

Deno.test("takeTurn() ends the wait of all when the result appears", async () => {
  await using dir = await tempDir("flight");
  const results: string[] = [];
  const find = () => Promise.resolve(results[0]);
  const first = await takeTurn(optionsIn(dir.path, { find }));
  assert.equal(first.kind, "mine");
  const waiting = Array.from({ length: 8 }, () => takeTurn(optionsIn(dir.path, { find })));
  await (await import("./backoff.ts")).sleep(200, new AbortController().signal);
  results.push("made");
  for (const flight of await Promise.all(waiting)) {
    assert.equal(flight.kind === "found" && flight.value, "made");
    assert.equal(flight.wait.holder?.job, "4711");
  }
  if (first.kind === "mine") await first.release();
});

Deno.test("takeTurn() looks again under the lock", async () => {
  await using dir = await tempDir("flight");
  let looks = 0;
  const flight = await takeTurn(
    optionsIn(dir.path, { find: () => Promise.resolve(++looks === 2 ? "made" : undefined) }),
  );
  assert.equal(flight.kind === "found" && flight.value, "made");
  assert.equal((await run(["flock", "-n", dir.join("image.lock"), "true"])).code, 0, "and frees it");
});

Deno.test("takeTurn() gives up on a holder that stands still, naming it, and not on one that moves", async (t) => {
  await using dir = await tempDir("flight");
  await t.step("stands still", async () => {
    const activity = new Activity();
    activity.begin("download");
    const lock = await tryLock(dir.join("image.lock"));
    await using _beat = new HolderBeat(dir.join(".image.lock.holder"), { ...identity, host: "elsewhere" }, {
      activity,
      log: silent,
    });
    await assert.rejects(takeTurn(optionsIn(dir.path, { lockTimeoutMs: 500 })), (error: Failure) => {
      assert.equal(error.exitStatus, 75);
      assert.equal(error.code, "lock_timeout");
      assert.match(error.message, /job 4711 on elsewhere \(download.*no progress for/);
      return true;
    });
    if (lock.kind === "held") lock.lock[Symbol.dispose]();
  });
  await t.step("an old script whose file grows is waited for, until --max-wait", async () => {
    await using script = start(["flock", dir.join("image.lock"), "sh", "-c", "echo held; exec sleep 60"]);
    await script.waitFor(/held/);
    let size = 0;
    const options = optionsIn(dir.path, {
      lockTimeoutMs: 300,
      maxWaitMs: 1500,
      foreignProgress: () => Promise.resolve(String(size++)),
    });
    await assert.rejects(takeTurn(options), /pid \d+ on .* still holds it after/);
  });
  await t.step("an old script that does nothing is named by its pid", async () => {
    await using script = start(["flock", dir.join("image.lock"), "sh", "-c", "echo held; exec sleep 60"]);
    await script.waitFor(/held/);
    await assert.rejects(takeTurn(optionsIn(dir.path, { lockTimeoutMs: 300 })), /pid \d+ on .* no progress/);
  });
});

Deno.test("takeTurn() stops waiting when told to", async () => {
  await using dir = await tempDir("flight");
  const lock = await tryLock(dir.join("image.lock"));
  const stop = AbortSignal.timeout(100);
  await assert.rejects(takeTurn(optionsIn(dir.path, { signal: stop })), { name: "TimeoutError" });
  if (lock.kind === "held") lock.lock[Symbol.dispose]();
});

Deno.test("HolderBeat keeps the file whole while it is read, and takes it away", async () => {
  await using dir = await tempDir("flight");
  const path = dir.join(".image.lock.holder");
  const activity = new Activity();
  activity.begin("download");
  {
    await using _beat = new HolderBeat(path, identity, { activity, log: silent });
    activity.bar("a", "layer", 10).done = 5;
    let status;
    for (let round = 0; round < 500 && status === undefined; round++) status = await readHolderStatus(path);
    assert.equal(status?.phase, "download");
    assert.equal(status?.job, "4711");
  }
  assert.equal((await Array.fromAsync(Deno.readDir(dir.path))).length, 0);
});

Deno.test("readHolderStatus() takes rubbish for nothing", async () => {
  await using dir = await tempDir("flight");
  const path = dir.join("status");
  for (const text of ["", "{", "null", "[]", '{"schema":2,"id":"x"}', '{"schema":1}']) {
    await Deno.writeTextFile(path, text);
    assert.equal(await readHolderStatus(path), undefined);
  }
  assert.equal(await readHolderStatus(dir.join("absent")), undefined);
});
