import assert from "node:assert/strict";
import { jobServer, put, readFrames } from "../testdata/hook_jobs.ts";
import { needs } from "../testdata/needs.ts";
import { HOG } from "../testdata/memory_cgroup.ts";
import { tempDir } from "../testdata/temp.ts";
import { v1Cgroup, v1Controllers } from "../testdata/v1_cgroup.ts";
import { FRAME } from "../lib/hook/protocol.ts";

Deno.test("hook serve: how a job ends", async (t) => {
  await using server = await jobServer();
  for (
    const [name, script, code, signal, cause, fault] of [
      ["success", "exit 0", 0, null, "exit", "none"],
      ["a code", "exit 3", 3, null, "exit", "script"],
      ["a code that looks like a signal's", "exit 143", 143, null, "exit", "script"],
      ["input is at its end at once", "cat; exit 4", 4, null, "exit", "script"],
      ["SIGKILL", "kill -9 $$", 137, "SIGKILL", "signal", "unknown"],
      ["SIGSEGV", "kill -SEGV $$", 139, "SIGSEGV", "signal", "script"],
      ["a signal without a name", "kill -35 $$", 163, "signal 35", "signal", "unknown"],
    ] as [string, string, number, string | null, string, string][]
  ) {
    await t.step(name, async () => {
      const { result } = await server.sh(script);
      const { id, schema, started, ended, wall_ms, user_ms, system_ms } = result;
      assert.deepEqual([result.code, result.signal, result.cause, result.fault], [
        code,
        signal,
        cause,
        fault,
      ]);
      assert.ok(schema === 1 && id !== "" && Date.parse(ended) - Date.parse(started) === wall_ms);
      assert.ok(user_ms !== null && user_ms >= 0 && system_ms !== null && system_ms >= 0);
    });
  }
  await t.step("times and memory of its largest process", async () => {
    const eater =
      "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; head -c 80000000 /dev/zero | tail >/dev/null; sleep 0.2";
    const { result } = await server.sh(eater);
    assert.ok(result.user_ms! > 0 && result.wall_ms >= 200);
    assert.ok(result.max_rss_kb === null || result.max_rss_kb > 70_000, `${result.max_rss_kb}`);
  });
});

Deno.test("hook serve: what cannot be started is a result that says why", async (t) => {
  await using server = await jobServer();
  await using dir = await tempDir("spawn");
  await Deno.writeTextFile(dir.join("plain"), "no program", { mode: 0o644 });
  await Deno.writeTextFile(dir.join("lost"), "#!/no/such/interpreter\n", { mode: 0o755 });
  const many = Object.fromEntries(
    Array.from({ length: 30 }, (_, index) => [`V${index}`, "x".repeat(110_000)]),
  );
  for (
    const [name, spec, code, evidence] of [
      [
        "no program",
        { argv: ["no-such-program"] },
        127,
        /^cannot start "no-such-program": there is no such program/,
      ],
      ["no right", { argv: [dir.join("plain")] }, 126, /plain": it may not be executed$/],
      [
        "no interpreter",
        { script: dir.join("lost") },
        127,
        /lost": there is no such program, or the interpreter/,
      ],
      [
        "no directory",
        { argv: ["true"], cwd: "/no/such" },
        125,
        /^cannot change to directory "\/no\/such": there is no/,
      ],
      ["a file as directory", { argv: ["true"], cwd: dir.join("plain") }, 125, /it is no directory$/],
      [
        "too much environment",
        { argv: ["true"], env: { ...many, LARGEST: "x".repeat(120_000) } },
        126,
        /too large together; the largest variables are LARGEST 120007 bytes, V/,
      ],
    ] as [string, { argv: string[] }, number, RegExp][]
  ) {
    await t.step(name, async () => {
      const { result, notices } = await server.run(spec);
      assert.deepEqual([result.cause, result.fault, result.code], ["spawn_failed", "script", code]);
      assert.match(result.evidence[0]!, evidence);
      assert.deepEqual(notices, result.evidence);
    });
  }
});

Deno.test("hook serve: program, arguments, environment and directory arrive as they are", async (t) => {
  await using server = await jobServer();
  await using dir = await tempDir("exact");
  await t.step("arguments", async () => {
    const words = [
      "",
      " a  b ",
      '"$HOME"',
      "`id`",
      ";",
      "*",
      "C:\\x\\n",
      "\t",
      "é",
      "--",
      "-n",
      "line\nbreak",
    ];
    const { stdout } = await server.run({ argv: ["printf", "<%s>", ...words] });
    assert.equal(stdout, words.map((word) => `<${word}>`).join(""));
  });
  await t.step("environment", async () => {
    const large = "v".repeat(131_000);
    const env = {
      "A B": "x\ny",
      "`id`": "$HOME",
      LARGE: large,
      EMPTY: "",
      DAVIT_CONFIG: null,
      NO_COLOR: null,
    };
    const { stdout } = await server.run({ argv: ["env", "-0"], env });
    const found = new Map(stdout.split("\0").map((entry) => entry.split(/=(.*)/s) as [string, string]));
    for (const [name, value] of Object.entries(env)) assert.equal(found.get(name), value ?? undefined, name);
    assert.ok(found.has("PATH"));
  });
  await t.step("a variable that is too large is named", async () => {
    const answer = await put(server.client, { argv: ["true"], env: { LARGE: "v".repeat(140_000) } });
    const { error } = answer.json as { error: { code: string; message: string } };
    assert.deepEqual([answer.status, error.code], [400, "bad_spec"]);
    assert.match(error.message, /^env LARGE: 140007 bytes are too large/);
  });
  await t.step("directory and PATH with blanks", async () => {
    await Deno.mkdir(dir.join("a b"));
    await Deno.writeTextFile(dir.join("a b/mine"), "#!/bin/sh\npwd", { mode: 0o755 });
    const { stdout } = await server.run({
      argv: ["mine"],
      cwd: dir.join("a b"),
      prepend_path: [dir.join("a b")],
    });
    assert.equal(stdout, `${dir.join("a b")}\n`);
  });
  await t.step("a script without #! is run by sh -e, one with it by what it names", async () => {
    await Deno.writeTextFile(dir.join("plain.sh"), "echo $0; false; echo not here");
    const plain = await server.run({ script: dir.join("plain.sh") });
    assert.deepEqual([plain.stdout, plain.result.code], [`${dir.join("plain.sh")}\n`, 1]);
    await Deno.writeTextFile(dir.join("bash.sh"), "#!/bin/bash\nfalse; echo ${BASH_VERSION:+bash}", {
      mode: 0o755,
    });
    assert.equal((await server.run({ script: dir.join("bash.sh") })).stdout, "bash\n");
  });
  await t.step("a directory that was removed under the server", async () => {
    await Deno.mkdir(dir.join("cwd"));
    await using gone = await jobServer({ under: ["sh", "-c", 'cd "$0"; exec "$@"', dir.join("cwd")] });
    assert.equal((await gone.sh('pwd; rmdir "$PWD"')).stdout, `${dir.join("cwd")}\n`);
    const { stdout, stderr } = await gone.sh("pwd");
    assert.deepEqual([stdout, stderr], ["/\n", ""]);
  });
  await t.step(
    "the job is in a session of its own, and is killed before the server when memory is short",
    async () => {
      const { stdout } = await server.sh("cat /proc/self/oom_score_adj; ps -o sid= -p $$; echo $$");
      const [score, session, pid] = stdout.split("\n").map(Number);
      const own = Number(await Deno.readTextFile(`/proc/${server.process.pid}/oom_score_adj`));
      assert.ok(score! >= own + 100, `${score} ${own}`);
      assert.equal(session, pid);
    },
  );
});

Deno.test("hook serve: an id runs once", async (t) => {
  await using server = await jobServer();
  await using dir = await tempDir("once");
  const spec = {
    argv: [
      "sh",
      "-c",
      `echo ran >>"${dir.join("ran")}"; while [ ! -e "${dir.join("go")}" ]; do sleep 0.02; done`,
    ],
  };
  await t.step("a hundred requests at once", async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => put(server.client, spec, "one")));
    assert.deepEqual(answers.map(({ status }) => status).toSorted().slice(98), [200, 201]);
    assert.ok(answers.every(({ json }) => (json as { id: string }).id === "one"));
  });
  await t.step("another one has to wait", async () => {
    const { status, json } = await put(server.client, spec, "two");
    const { running, error } = json as {
      running: { id: string; status: string; age_ms: number };
      error: { code: string };
    };
    assert.deepEqual([status, error.code, running.id, running.status], [409, "busy", "one", "running"]);
    assert.ok(running.age_ms >= 0);
  });
  await t.step("it is the same after its end", async () => {
    await Deno.writeTextFile(dir.join("go"), "");
    await server.follow("one");
    const { status, json } = await put(server.client, spec, "one");
    assert.deepEqual([status, (json as { status: string }).status], [200, "ended"]);
    const [end, ...more] = await readFrames(server.client, "one", (json as { acked_seq: number }).acked_seq);
    assert.deepEqual([end!.kind, more.length], [FRAME.end, 0]);
  });
  await t.step("and when its result is forgotten", async () => {
    for (let count = 0; count < 33; count++) await server.sh("true");
    const { status, json } = await put(server.client, spec, "one");
    assert.deepEqual([status, (json as { error: { code: string } }).error.code], [410, "forgotten"]);
    assert.equal((await server.status()).recent.length, 32);
  });
  assert.equal(await Deno.readTextFile(dir.join("ran")), "ran\n");
});

Deno.test({
  ...needs({ root: true, kernel: [v1Controllers("memory")] }),
  name: "hook serve: a job that is killed for want of memory is 137 with the cause, and the server lives",
  fn: async (t) => {
    await using cgroup = await v1Cgroup(["memory"]);
    await cgroup.set("memory", "limit_in_bytes", 400 << 20);
    await using server = await jobServer({ prepare: cgroup.enter });
    await t.step("the job itself", async () => {
      const { result } = await server.run({ argv: HOG });
      assert.deepEqual([result.code, result.signal, result.cause], [137, "SIGKILL", "oom"]);
      assert.equal(result.fault, "script");
      assert.match(
        result.evidence.join(),
        /OOM killer ended (process \d+ \(tail\).*at its limit|1 process )/,
      );
    });
    await t.step("a child of it", async () => {
      const { result } = await server.sh(`${HOG.join(" ")}; exit 5`);
      assert.deepEqual([result.code, result.cause, result.fault], [5, "exit", "script"]);
      assert.match(result.evidence.join(), /OOM killer ended/);
    });
    await t.step("the next step works, and has nothing to do with it", async () => {
      const { result } = await server.sh("kill -9 $$");
      assert.deepEqual([result.code, result.cause], [137, "signal"]);
    });
  },
});
