import assert from "node:assert/strict";
import { isAlive, untilEnded } from "../testdata/alive.ts";
import { type JobServer, jobServer } from "../testdata/hook_jobs.ts";
import { tempDir } from "../testdata/temp.ts";

/** A process in every way of leaving a job's tree; each writes its pid to a file of its own in `$1`. */
const ESCAPES = `
dir=$1; trap 'echo caught INT' INT; trap 'echo caught TERM' TERM
me='echo $$ >"$0"; trap "" TERM INT HUP; while :; do sleep 0.1; done'
sh -c "$me" $dir/child &
setsid sh -c "$me" $dir/setsid &
( ( setsid sh -c "$me" $dir/double & ) & )
env -i PATH="$PATH" setsid sh -c "$me" $dir/bare &
nohup sh -c "$me" $dir/nohup >/dev/null 2>&1 &
setsid sh -c 'kill -STOP $$; :' & echo $! >$dir/stopped
sh -c 'echo $$ >"$0"; exec setsid env -i PATH="$PATH" sh -c "exec sleep 1000"' $dir/renamed &
while [ $(ls $dir | wc -l) -lt 7 ]; do sleep 0.05; done
echo ready; while :; do sleep 0.1; done`;

async function escapes(server: JobServer, dir: string) {
  const { id } = await server.start({
    argv: ["sh", "-c", ESCAPES, "sh", dir],
    kill: { term_ms: 1_500, kill_ms: 6_000 },
  });
  const outcome = server.follow(id);
  const pids: number[] = [];
  while (pids.length < 7 || (await server.status()).job?.last_seq === 0) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    pids.length = 0;
    for await (const { name } of Deno.readDir(dir)) {
      const pid = Number(await Deno.readTextFile(`${dir}/${name}`));
      if (pid > 0) pids.push(pid);
    }
  }
  return { id, outcome, pids };
}

Deno.test("hook serve: the whole tree is gone after a kill, and its trap was heard", async () => {
  await using server = await jobServer();
  await using dir = await tempDir("escapes");
  const { id, outcome, pids } = await escapes(server, dir.path);
  assert.equal((await server.client.ask("GET", `/v1/jobs/${id}`)).status, 200);
  assert.equal((await server.client.ask("POST", `/v1/jobs/${id}/kill`, { body: {} })).status, 202);
  const during = (await server.client.ask("GET", `/v1/jobs/${id}`)).json as { status: string };
  assert.equal(during.status, "killing");
  const { result, stdout, notices } = await outcome;
  assert.match(stdout, /ready\ncaught INT\ncaught TERM\n/);
  assert.deepEqual([result.code, result.signal, result.cause, result.fault], [
    137,
    "SIGKILL",
    "killed_by_request",
    "unknown",
  ]);
  assert.deepEqual(result.evidence.map((text) => text.replace(/ \d.*/, "")), [
    "it was asked to be ended",
    "SIGINT was sent",
    "SIGTERM was sent",
    "SIGKILL was sent",
  ]);
  assert.deepEqual([result.survivors, notices], [[], []]);
  assert.deepEqual(pids.filter(isAlive), []);
});

Deno.test("hook serve: one signal goes to the whole tree, and the end of the step ends the rest", async () => {
  await using server = await jobServer();
  await using dir = await tempDir("signal");
  const script = `(trap 'echo child >>"${dir.path}/who"; exit' INT; while :; do sleep 0.05; done) & ` +
    `setsid sleep 1000 & echo $! >"${dir.path}/other"; trap 'echo shell; exit 42' INT; echo ready; ` +
    "while :; do sleep 0.05; done";
  const { id } = await server.start({ argv: ["sh", "-c", script] });
  const outcome = server.follow(id);
  while ((await server.status()).job?.last_seq === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await server.client.ask("POST", `/v1/jobs/${id}/kill`, { body: { signal: "INT" } });
  const { result, stdout } = await outcome;
  assert.deepEqual([stdout, result.code, result.signal], ["ready\nshell\n", 42, null]);
  assert.equal(result.cause, "killed_by_request");
  await untilEnded(Number(await Deno.readTextFile(dir.join("other"))));
});

Deno.test("hook serve: no zombie is left of a thousand orphans", async () => {
  await using server = await jobServer();
  const { result } = await server.sh("for i in $(seq 1000); do (true &) ; done; wait");
  assert.equal(result.code, 0);
  const children = `/proc/${server.process.pid}/task/${server.process.pid}/children`;
  for (const deadline = performance.now() + 120_000; (await Deno.readTextFile(children)) !== "";) {
    assert.ok(performance.now() < deadline, await Deno.readTextFile(children));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const metrics = await (await server.client.open("GET", "/metrics")).text();
  const reaped = Number(/^davit_hook_orphans_reaped_total (\d+)$/m.exec(metrics)?.[1]);
  assert.ok(reaped > 0 && reaped <= 1000, `${reaped}`);
});

Deno.test("hook serve: a child in the background does not hold the step, and is named", async (t) => {
  await using server = await jobServer();
  let pid = 0;
  await t.step("it holds the output: the step ends after the grace, the child goes on", async () => {
    const begun = performance.now();
    const outcome = await server.sh("(while :; do echo tick; sleep 0.1; done) & echo pid $!; exit 3", {
      background_grace_ms: 400,
    });
    pid = Number(/^pid (\d+)$/m.exec(outcome.stdout)?.[1]);
    assert.equal(outcome.result.code, 3);
    assert.ok(performance.now() - begun >= 400);
    const [shell] = outcome.result.survivors.filter((survivor) => survivor.pid === pid);
    assert.deepEqual(shell, { pid, name: "sh" });
    assert.match(
      outcome.notices.join(),
      new RegExp(`still running after the step, its output .*: .*\\b${pid} \\(sh\\)`),
    );
  });
  await t.step("it is not killed by its closed pipe, nor with the next job", async () => {
    const { id } = await server.start({ argv: ["sleep", "1000"] });
    await server.client.ask("POST", `/v1/jobs/${id}/kill`, { body: { signal: "KILL" } });
    const { result } = await server.follow(id);
    assert.deepEqual([result.code, result.survivors], [137, []]);
    assert.ok(isAlive(pid));
  });
  await t.step("it holds nothing: the step ends at once", async () => {
    const { result, notices } = await server.sh(
      'sleep 1000 >/dev/null 2>&1 & while [ "$(cat /proc/$!/comm)" != sleep ]; do sleep 0.05; done',
    );
    const [survivor] = result.survivors;
    assert.equal(survivor!.name, "sleep");
    assert.deepEqual(notices, [`still running after the step: ${survivor!.pid} (sleep)`]);
    Deno.kill(survivor!.pid, "SIGKILL");
  });
  Deno.kill(pid, "SIGKILL");
});

Deno.test("hook serve: a job without a client ends with its lease", async (t) => {
  await using server = await jobServer({ flags: ["--lease=3s"] });
  await t.step("an open stream is a client", async () => {
    assert.equal((await server.sh("sleep 4; exit 4")).result.code, 4);
  });
  await t.step("nobody is none", async () => {
    const { id } = await server.start({
      argv: ["sh", "-c", "echo alone; exec sleep 1000"],
      kill: { int_ms: 0 },
    });
    // It wants no token: whoever asks for it is no client.
    const metrics = async () => await (await server.client.open("GET", "/metrics")).text();
    while (/^davit_hook_jobs_running 1$/m.test(await metrics())) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const { result, stdout } = await server.follow(id);
    assert.deepEqual([stdout, result.cause, result.fault, result.code], [
      "alone\n",
      "lease_lost",
      "infra",
      130,
    ]);
    assert.match(result.evidence[0]!, /^no client was heard for 3 s$/);
  });
});

Deno.test("hook serve: SIGTERM ends the job first, and its client is told", async () => {
  await using server = await jobServer();
  await using dir = await tempDir("stop");
  const { id } = await server.start({
    argv: [
      "sh",
      "-c",
      `trap 'echo last words; exit 9' TERM; setsid sleep 1000 & echo $! >"${dir.path}/pid"; wait`,
    ],
  });
  const outcome = server.follow(id);
  const pidOf = () => Deno.readTextFile(dir.join("pid")).catch(() => "");
  while (await pidOf() === "") await new Promise((resolve) => setTimeout(resolve, 20));
  server.process.kill("SIGTERM");
  const { result, stdout } = await outcome;
  assert.deepEqual([stdout, result.code, result.cause, result.fault], [
    "last words\n",
    9,
    "server_stopped",
    "infra",
  ]);
  assert.equal((await server.process.done).signal, "SIGTERM");
  await untilEnded(Number(await pidOf()));
});
