import assert from "node:assert/strict";
import { liveHookServer } from "../testdata/live_hook_server.ts";
import { davit } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";

Deno.test("hook: bad input is one line each, with what to do and the right exit code", async (t) => {
  await using server = await liveHookServer();
  await using dir = await tempDir("hook-bad");
  await Deno.writeTextFile(dir.join("open"), "x\n", { mode: 0o644 });
  await Deno.writeTextFile(dir.join("wrong"), "x\n", { mode: 0o600 });
  await Deno.writeTextFile(dir.join("empty"), "", { mode: 0o600 });
  await server.run(["exec", "--id", "done", "--", "true"]);
  for (
    const [name, args, exit, message] of [
      ["unknown id", ["logs", "nope"], 66, /^davit: Cannot find job "nope"/],
      ["unknown id", ["kill", "nope"], 66, /^davit: Cannot find job "nope"/],
      [
        "a job that has ended",
        ["kill", "done"],
        66,
        /^davit: Cannot end job "done" on server ".*": it has ended already, exit code 0\nhint: .*\n$/,
      ],
      ["a bad id", ["exec", "--id", "../x", "--", "true"], 65, /^davit: Cannot start step/],
      ["nothing runs", ["kill"], 66, /^davit: Cannot find a job on server ".*": none runs\n$/],
      [
        "nobody there",
        ["status", "--server", dir.join("none.sock")],
        69,
        /^davit: Cannot reach server "unix:.*": there is no such socket\nhint: .*\n$/,
      ],
      [
        "no token file",
        ["status", "--token-file", dir.join("none")],
        66,
        /^davit: Cannot read token file ".*": there is none\nhint: .*\n$/,
      ],
      [
        "an open token file",
        ["status", "--token-file", dir.join("open")],
        77,
        /^davit: Cannot use token file ".*": every user can read it\nhint: .*\n$/,
      ],
      [
        "an empty token file",
        ["status", "--token-file", dir.join("empty")],
        65,
        /^davit: Cannot use token file ".*": it is empty\n/,
      ],
      [
        "a wrong token",
        ["status", "--token-file", dir.join("wrong")],
        77,
        /^davit: Cannot use server ".*": it does not accept the token\nhint: .*\n$/,
      ],
      ["nothing to run", ["exec"], 64, /^davit: Cannot tell what to run/],
      ["two things to run", ["exec", "--script", "x", "--", "y"], 64, /^davit: Cannot tell what to run/],
      ["a bad address", ["status", "--server", "nonsense"], 64, /^davit: Cannot use server "nonsense"/],
    ] as [string, string[], number, RegExp][]
  ) {
    await t.step(`${name}: ${args[0]}`, async () => {
      const end = await server.run(args);
      assert.match(end.stderr, message);
      assert.deepEqual([end.code, end.stdout], [exit, ""]);
    });
  }
  await t.step("with --json it is an object", async () => {
    const end = await server.run(["kill", "done", "--json"]);
    assert.deepEqual([JSON.parse(end.stderr).error.code, end.stdout, end.code], ["job_ended", "", 66]);
  });
  await t.step("no server named", async () => {
    const end = await davit(["hook", "status"]);
    assert.equal(end.code, 64);
    assert.match(end.stderr, /neither --server nor DAVIT_HOOK_SERVER is given/);
  });
});

Deno.test("hook status finds the server by flag, variable and file, in this order", async () => {
  await using server = await liveHookServer();
  const file = server.dir.join("config.yaml");
  await Deno.writeTextFile(file, `hook:\n  server: ${server.socket}\n  token_file: ${server.tokenFile}\n`);
  const env = { DAVIT_CONFIG: file };
  assert.equal((await davit(["hook", "status"], { env })).code, 0);
  const other = { ...env, DAVIT_HOOK_SERVER: "/nonexistent/by-variable" };
  assert.match((await davit(["hook", "status"], { env: other })).stderr, /"unix:\/nonexistent\/by-variable"/);
  assert.equal((await davit(["hook", "status", "--server", server.socket], { env: other })).code, 0);
});

Deno.test("hook status, logs and kill", async (t) => {
  await using server = await liveHookServer();
  await t.step("nothing yet", async () => {
    const { code, stdout } = await server.run(["status"]);
    assert.equal(code, 0);
    assert.match(stdout, /^davit \S+ at unix:.*, process \d+, up for .*\nno job runs\n$/);
  });
  await using step = server.davit(["exec", "--id", "j1", "--", "sh", "-c", "echo one; sleep 60; echo two"]);
  await step.waitFor(/one/, 30_000);
  await t.step("a job runs", async () => {
    const { job } = JSON.parse((await server.run(["status", "--json"])).stdout);
    assert.deepEqual([job.id, job.status], ["j1", "running"]);
    assert.match((await server.run(["status"])).stdout, /\njob j1: running, started /);
    const busy = await server.run(["exec", "--id", "j2", "--", "true"]);
    assert.equal(busy.code, 75);
    assert.match(
      busy.stderr,
      /step "j1" is running there for [\d.]+ s\nhint: `davit hook kill j1` ends it\n$/,
    );
  });
  await t.step("it is ended", async () => {
    const follower = server.davit(["logs", "--follow", "j1"]);
    await using _follower = follower;
    const { code, stdout } = await server.run(["kill"]);
    assert.deepEqual([code, stdout], [0, "ending job j1\n"]);
    assert.equal((await step.done).code, 130);
    assert.equal((await follower.done).code, 0);
  });
  await t.step("it ran", async () => {
    assert.match(
      (await server.run(["status"])).stdout,
      /\nno job runs\njob j1: ended, started .* ago, exit code 130, cause killed_by_request\n$/,
    );
  });
});
