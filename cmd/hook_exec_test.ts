import assert from "node:assert/strict";
import { untilEnded } from "../testdata/alive.ts";
import { cuttingProxy, type Mischief } from "../testdata/cutting_proxy.ts";
import { liveHookServer } from "../testdata/live_hook_server.ts";
import { davitArgv, davitEnv, run } from "../testdata/run.ts";

Deno.test("hook exec: output, input and end are as if the command ran here", async (t) => {
  await using server = await liveHookServer();
  for (
    const [name, args, code, stdout, stderr] of [
      ["streams", ["--", "sh", "-c", "echo out; echo err >&2"], 0, "out\n", "err\n"],
      ["bytes", ["--", "printf", "a\\0b\\rc\\377d"], 0, "a\0b\rc\ufffdd", ""],
      [
        "arguments",
        ["--", "printf", "<%s>", "a b", '"$HOME"', "`id`", "", "C:\\x", "*"],
        0,
        '<a b><"$HOME"><`id`><><C:\\x><*>',
        "",
      ],
      ["input is empty", ["--", "cat"], 0, "", ""],
      ["exit 3", ["--", "sh", "-c", "exit 3"], 3, "", ""],
      ["a signal", ["--", "sh", "-c", "kill -9 $$"], 137, "", ""],
      [
        "environment",
        [
          "--env",
          "A=x y\nz",
          "--env",
          "DAVIT_TEST=",
          "--",
          "sh",
          "-c",
          'printf "%s|%s" "$A" "${DAVIT_TEST-unset}"',
        ],
        0,
        "x y\nz|",
        "",
      ],
      ["directory", ["--cwd", "/usr", "--", "pwd"], 0, "/usr\n", ""],
    ] as [string, string[], number, string, string][]
  ) {
    await t.step(name, async () => {
      const end = await server.run(["exec", ...args]);
      assert.deepEqual([end.stdout, end.stderr, end.code], [stdout, stderr, code]);
    });
  }
  await t.step("--prepend-path", async () => {
    await Deno.mkdir(server.dir.join("a b"));
    await Deno.writeTextFile(server.dir.join("a b/mine"), "#!/bin/sh\necho mine", { mode: 0o755 });
    const end = await server.run(["exec", "--prepend-path", server.dir.join("a b"), "--", "mine"]);
    assert.deepEqual([end.stdout, end.code], ["mine\n", 0]);
  });
  await t.step("--script", async () => {
    await Deno.writeTextFile(server.dir.join("s.sh"), "echo one\nfalse\necho two\n");
    const end = await server.run(["exec", "--script", server.dir.join("s.sh")]);
    assert.deepEqual([end.stdout, end.code], ["one\n", 1]);
  });
  await t.step("an id never runs twice", async () => {
    const args = ["exec", "--id", "mine", "--", "sh", "-c", `echo x >>"${server.dir.join("count")}"; exit 5`];
    assert.deepEqual([(await server.run(args)).code, (await server.run(args)).code], [5, 5]);
    assert.equal(await Deno.readTextFile(server.dir.join("count")), "x\n");
  });
});

Deno.test("hook exec: a script runs once, whatever becomes of the reply to its start", async (t) => {
  await using server = await liveHookServer();
  for (
    const [how, delayMs] of [["lose", 0], ["delay", 1_000], ["repeat", 0], ["resend", 0]] as [
      Mischief["how"],
      number,
    ][]
  ) {
    await t.step(how, async () => {
      const mischief = { request: /^PUT \S*\/v1\/jobs\//, how, delayMs };
      await using proxy = cuttingProxy({ transport: "unix", path: server.socket }, { mischief });
      const file = server.dir.join(`ran-${how}`);
      const end = await server.run([
        "exec",
        "--server",
        proxy.address,
        "--",
        "sh",
        "-c",
        `echo ran >>"${file}"; echo out; exit 7`,
      ]);
      assert.deepEqual([end.code, end.stdout], [7, "out\n"], end.stderr);
      assert.equal(await Deno.readTextFile(file), "ran\n");
      assert.equal(proxy.mischiefs(), 1);
    });
  }
});

Deno.test("hook exec: a log comes whole through a proxy that cuts all the time", async () => {
  await using server = await liveHookServer();
  await using proxy = cuttingProxy({ transport: "unix", path: server.socket }, { cutEveryMs: 250 });
  const script =
    'i=0; while [ $i -lt 60 ]; do head -c 200000 /dev/zero | tr "\\0" a; echo; echo "line $i" >&2; i=$((i+1)); sleep 0.05; done; exit 9';
  const args = ["exec", "--server", proxy.address, "--", "sh", "-c", script];
  const end = await server.run(args, { timeoutMs: 300_000 });
  assert.equal(end.code, 9, end.stderr.slice(0, 2_000));
  assert.equal(end.stdout, `${"a".repeat(200_000)}\n`.repeat(60));
  assert.equal(end.stderr, Array.from({ length: 60 }, (_, index) => `line ${index}\n`).join(""));
  assert.ok(proxy.cuts() > 5, `${proxy.cuts()} cuts`);
});

Deno.test("hook exec --stdin: the command reads what we read, each byte once", async (t) => {
  await using server = await liveHookServer();
  const bytes = Uint8Array.from({ length: 3_000_000 }, (_, index) => index * 2_654_435_761 >>> 24);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  for (const how of ["none", "lose", "delay", "repeat", "resend"] as const) {
    await t.step(`replies: ${how}`, async () => {
      const mischief = { request: /^POST \S*\/input\?/, times: 6, delayMs: 50 };
      const options = { cutEveryMs: 250, ...how === "none" ? {} : { mischief: { ...mischief, how } } };
      await using proxy = cuttingProxy({ transport: "unix", path: server.socket }, options);
      const args = ["exec", "--server", proxy.address, "--stdin", "--", "sh", "-c", "sha256sum; exit 3"];
      const end = await server.run(args, { stdin: bytes, timeoutMs: 300_000 });
      assert.deepEqual([end.stdout, end.code], [`${digest}  -\n`, 3], end.stderr);
      if (how !== "none") assert.equal(proxy.mischiefs(), 6);
    });
  }
  await t.step("an input that is empty", async () => {
    assert.deepEqual((await server.run(["exec", "--stdin", "--", "wc", "-c"], { stdin: "" })).stdout, "0\n");
  });
  const endless = async (...argv: string[]) => {
    const step = davitArgv(["hook", "exec", "--stdin", "--", ...argv]);
    const env = davitEnv({ DAVIT_HOOK_SERVER: server.socket, DAVIT_HOOK_TOKEN_FILE: server.tokenFile });
    return await run(["sh", "-c", 'yes | "$@"', "sh", ...step], { env });
  };
  await t.step("a command that reads no more, or nothing", async () => {
    assert.equal((await endless("head", "-n", "2")).stdout, "y\ny\n");
    assert.equal((await endless("true")).code, 0);
    // A pipe that is full: the command ends without having read from it.
    assert.equal((await endless("sh", "-c", "sleep 1; exit 4")).code, 4);
  });
});

Deno.test("hook exec: signals reach the script, whose last words still come", async (t) => {
  await using server = await liveHookServer();
  const script =
    'trap "echo got INT; exit 42" INT; trap "echo got TERM; exit 43" TERM; echo ready; sleep 30 & wait';
  for (const [signal, word, code] of [["SIGINT", "INT", 42], ["SIGTERM", "TERM", 43]] as const) {
    await t.step(signal, async () => {
      await using step = server.davit(["exec", "--", "sh", "-c", script]);
      await step.waitFor(/ready/, 30_000);
      step.kill(signal);
      const end = await step.done;
      assert.deepEqual([end.stdout, end.code], [`ready\ngot ${word}\n`, code], end.stderr);
    });
  }
  await t.step("the client is killed: the server ends the script all the same", async () => {
    await using step = server.davit([
      "exec",
      "--",
      "sh",
      "-c",
      'trap "" INT TERM; echo $$; while :; do sleep 0.2; done',
    ]);
    const [, pid] = await step.waitFor(/^(\d+)\n/, 30_000);
    step.kill("SIGINT");
    const status = async () => JSON.parse((await server.run(["status", "--json"])).stdout).job.status;
    while (await status() !== "killing") await new Promise((resolve) => setTimeout(resolve, 50));
    step.kill("SIGKILL");
    await untilEnded(Number(pid), 30_000);
  });
});

Deno.test("hook exec: a server that is killed is the infrastructure's failure", async () => {
  await using server = await liveHookServer();
  const result = server.dir.join("result.json");
  const script = 'echo before; echo $$ >"$0"; exec sleep 30';
  const pidFile = server.dir.join("pid");
  await using step = server.davit(["exec", "--result", result, "--", "sh", "-c", script, pidFile], {
    env: { GITHUB_ACTIONS: "true" },
  });
  await step.waitFor(/before/, 30_000);
  server.process.kill("SIGKILL");
  const end = await step.done;
  try {
    assert.deepEqual([end.stdout, end.code], ["before\n", 69]);
    assert.match(
      end.stderr,
      /^::error title=Step lost::.*This is a failure of the infrastructure, not of the script\./m,
    );
    assert.match(end.stderr, /^davit: Cannot tell how the step ended: the server is gone/m);
    const { cause, fault, code, evidence } = JSON.parse(await Deno.readTextFile(result));
    assert.deepEqual([cause, fault, code], ["server_gone", "infra", 69]);
    assert.match(evidence.join("\n"), /last heard/);
  } finally {
    const pid = Number(await Deno.readTextFile(pidFile));
    Deno.kill(pid, "SIGKILL");
    await untilEnded(pid);
  }
});

Deno.test("hook exec: --result and the annotation tell whose fault it was", async (t) => {
  await using server = await liveHookServer();
  const result = server.dir.join("r.json");
  await t.step("the script's", async () => {
    const end = await server.run(["exec", "--result", result, "--", "sh", "-c", "printf half >&2; exit 3"], {
      env: { GITHUB_ACTIONS: "true" },
    });
    assert.match(
      end.stderr,
      /^half\n::error title=Step failed%3A exit code 3::The script ended with exit code 3\. This is the script's own failure\./,
    );
    const facts = JSON.parse(await Deno.readTextFile(result));
    assert.deepEqual([facts.code, facts.signal, facts.cause, facts.fault, facts.stderr_bytes], [
      3,
      null,
      "exit",
      "script",
      4,
    ]);
  });
  await t.step("nobody's: success leaves no line", async () => {
    const end = await server.run(["exec", "--result", result, "--", "true"], {
      env: { GITHUB_ACTIONS: "true" },
    });
    assert.deepEqual([end.code, end.stderr], [0, ""]);
    assert.equal(JSON.parse(await Deno.readTextFile(result)).code, 0);
  });
  await t.step("no result can be written: nothing runs", async () => {
    const end = await server.run([
      "exec",
      "--result",
      "/proc/none/r.json",
      "--",
      "touch",
      server.dir.join("ran"),
    ]);
    assert.notEqual(end.code, 0);
    assert.match(end.stderr, /^davit: Cannot write "\/proc\/none\/r\.json"/);
    await assert.rejects(Deno.stat(server.dir.join("ran")), Deno.errors.NotFound);
  });
});

Deno.test("hook exec | head: the job ends with its reader", async () => {
  await using server = await liveHookServer();
  const pidFile = server.dir.join("pid");
  const step = davitArgv(["hook", "exec", "--", "sh", "-c", `echo $$ >"${pidFile}"; exec yes`]);
  const env = davitEnv({ DAVIT_HOOK_SERVER: server.socket, DAVIT_HOOK_TOKEN_FILE: server.tokenFile });
  const end = await run(["bash", "-c", 'set -o pipefail; "$@" | head -n 1', "bash", ...step], { env });
  assert.deepEqual([end.stdout, end.code], ["y\n", 141]);
  assert.equal(end.stderr, "davit: Cannot write the step's stdout: its reader is gone, the step was ended\n");
  await untilEnded(Number(await Deno.readTextFile(pidFile)), 30_000);
});
