import assert from "node:assert/strict";
import { isAlive, untilEnded as untilGone } from "../../testdata/alive.ts";
import { ask, exec, script, startServer, TOKEN, untilEnded, withServer } from "../../testdata/osdc_client.ts";
import { davitArgv, davitEnv, run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";

Deno.test("osdc: /logs serves everything when a job has cleared the directory, and says that it did", async () => {
  await using dir = await tempDir("osdc-wipe");
  const rpc = dir.join("rpc");
  const { server, port } = await startServer(dir, {}, [`--rpc-dir=${rpc}`]);
  await using _server = server;
  await exec(
    port,
    "w",
    await script(dir, "w.sh", `echo before; rm -rf "${rpc}"; sleep 1.5; echo after; echo err >&2`),
  );
  assert.equal(await untilEnded(port), '{"id":"w","status":"completed","exit_code":0}');
  assert.equal((await ask(port, "GET", "/logs")).body, "before\nafter\n");
  const { body } = await ask(port, "GET", "/logs?stream=stderr");
  const rest = await ask(port, "GET", `/logs?stream=stderr&offset=${body.length}`);
  assert.match(body + rest.body, /^err\ndavit: .*cleared by the job; recreated .*, no output lost\n$/);
  const end = body.length + rest.body.length;
  assert.equal((await ask(port, "GET", `/logs?stream=stderr&offset=${end}`)).body, "");
  await exec(port, "x", await script(dir, "x.sh", "echo next"));
  await untilEnded(port);
  assert.equal((await ask(port, "GET", "/logs")).body, "next\n");
});

Deno.test("osdc: /davit/result tells what the fork's status cannot", async () => {
  await withServer(async (port, dir) => {
    assert.equal((await ask(port, "GET", "/davit/result")).body, "null");
    assert.equal((await ask(port, "GET", "/davit/result", { token: null })).status, 403);
    await exec(port, "../r", await script(dir, "r.sh", "kill -9 $$"));
    await untilEnded(port);
    const { id, code, signal, cause } = JSON.parse((await ask(port, "GET", "/davit/result")).body);
    assert.deepEqual([id, code, signal, cause], ["../r", 137, "SIGKILL", "signal"]);
  });
});

Deno.test("osdc: the server dies by the signal that it was sent, its job before it", async (t) => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    await t.step(signal, async () => {
      await using dir = await tempDir("osdc-end");
      const { server, port } = await startServer(dir);
      await using _server = server;
      await exec(port, "s", await script(dir, "s.sh", "echo $$; exec sleep 60"));
      let pid = "";
      while (pid === "") pid = (await ask(port, "GET", "/logs")).body.trim();
      server.kill(signal);
      const end = await server.done;
      assert.equal(end.signal, signal, end.stderr);
      assert.ok(!isAlive(Number(pid)));
    });
  }
});

Deno.test("osdc: --daemonize returns with the port, and what it left serves without its stdout", async () => {
  await using dir = await tempDir("osdc-daemon");
  const pidFile = dir.join("pid");
  const flags = ["--compat", "osdc", "--port", "0", "--token", TOKEN, "--daemonize", `--pid-file=${pidFile}`];
  const argv = davitArgv(["hook", "serve", ...flags, `--rpc-dir=${dir.join("rpc")}`]);
  const { code, stdout, stderr } = await run(argv, { env: davitEnv() });
  assert.equal(code, 0, stderr);
  const [, port] = /^RPC server listening on \[::\]:(\d+)\n$/.exec(stdout)!;
  const pid = Number(await Deno.readTextFile(pidFile));
  try {
    const commandLine = await Deno.readTextFile(`/proc/${pid}/cmdline`);
    assert.ok(!commandLine.includes(TOKEN), "the token is in the daemon's arguments");
    await exec(Number(port), "d", await script(dir, "d.sh", "echo still here"));
    await untilEnded(Number(port));
    assert.equal((await ask(Number(port), "GET", "/logs")).body, "still here\n");
  } finally {
    Deno.kill(pid, "SIGTERM");
    await untilGone(pid, 20_000);
  }
});
