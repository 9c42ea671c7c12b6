import assert from "node:assert/strict";
import { isAlive, untilEnded } from "../testdata/alive.ts";
import { jobServer } from "../testdata/hook_jobs.ts";
import { davit, davitArgv, davitEnv, run, startDavit } from "../testdata/run.ts";
import { type TempDir, tempDir } from "../testdata/temp.ts";

/** What is in a directory. */
async function namesIn(path: string): Promise<string[]> {
  return await Array.fromAsync(Deno.readDir(path), ({ name }) => name);
}

async function withToken(work: (dir: TempDir) => Promise<void>): Promise<void> {
  await using dir = await tempDir("serve");
  await Deno.writeTextFile(dir.join("token"), "secret-of-the-test\n", { mode: 0o600 });
  await work(dir);
}

Deno.test("hook serve --detach returns when it listens, and goes on alone", async (t) => {
  await withToken(async (dir) => {
    const flags = ["--socket=davit.sock", "--token-file=token", "--unlink-token", "--rpc-dir=rpc"];
    const files = ["--pid-file=pid", "--log-file=log", "--listen=127.0.0.1:0"];
    const begun = await davit(["hook", "serve", "--detach", ...flags, ...files], { cwd: dir.path });
    assert.equal(begun.code, 0, begun.stderr);
    assert.match(begun.stdout, new RegExp(`^unix:${dir.path}/davit\\.sock 127\\.0\\.0\\.1:\\d+\n$`));
    const pid = Number(await Deno.readTextFile(dir.join("pid")));
    try {
      await t.step("it has a session of its own and nothing of its starter's", async () => {
        const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
        assert.equal(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3], String(pid));
        const argv = await Deno.readTextFile(`/proc/${pid}/cmdline`);
        assert.ok(!argv.includes("secret-of-the-test") && argv.includes("--token-fd=0"));
        assert.ok(!(await run(["cat", `/proc/${pid}/environ`])).stdout.includes("secret-of-the-test"));
      });
      await t.step("the token is gone, the socket is ours alone", async () => {
        await assert.rejects(Deno.stat(dir.join("token")), Deno.errors.NotFound);
        assert.equal((await Deno.lstat(dir.join("davit.sock"))).mode! & 0o777, 0o600);
        await Deno.writeTextFile(dir.join("token"), "secret-of-the-test\n", { mode: 0o600 });
      });
      const client = ["--server=davit.sock", "--token-file=token"].map((flag) =>
        flag.replace("=", `=${dir.path}/`)
      );
      await t.step("it runs steps where it was started", async () => {
        const step = await davit(["hook", "exec", ...client, "--", "sh", "-c", "pwd; exit 3"], { cwd: "/" });
        assert.deepEqual([step.stdout, step.code], [`${dir.path}\n`, 3], step.stderr);
      });
      await t.step("a second one does not take its address", async () => {
        const second = await davit(["hook", "serve", ...flags.slice(0, 2)], { cwd: dir.path });
        assert.equal(second.code, 75);
        assert.match(
          second.stderr,
          /^davit: Cannot listen on ".*davit\.sock": another server listens there\nhint: /m,
        );
      });
      await t.step("SIGTERM ends it, and it takes its files along", async () => {
        Deno.kill(pid, "SIGTERM");
        await untilEnded(pid, 20_000);
        assert.deepEqual((await namesIn(dir.path)).toSorted(), [
          "log",
          "rpc",
          "token",
        ]);
        assert.match(
          await Deno.readTextFile(dir.join("log")),
          /msg="the server was told to stop" signal=SIGTERM\n$/,
        );
      });
    } finally {
      if (isAlive(pid)) Deno.kill(pid, "SIGKILL");
    }
  });
});

Deno.test("hook serve takes the socket of a server that was killed", async () => {
  await withToken(async (dir) => {
    const flags = [
      `--socket=${dir.join("s")}`,
      `--token-file=${dir.join("token")}`,
      `--rpc-dir=${dir.join("rpc")}`,
    ];
    for (let round = 0; round < 2; round++) {
      await using server = startDavit(["hook", "serve", ...flags]);
      await server.waitFor(/^unix:/, 30_000);
      server.kill("SIGKILL");
      await server.done;
      assert.ok((await Deno.lstat(dir.join("s"))).isSocket);
    }
  });
});

Deno.test("hook serve: of servers that begin at once on a dead socket one gets it, and the others say so", async () => {
  await withToken(async (dir) => {
    const socket = dir.join("s");
    const flags = [`--socket=${socket}`, `--token-file=${dir.join("token")}`, `--rpc-dir=${dir.join("rpc")}`];
    await using dead = startDavit(["hook", "serve", ...flags]);
    await dead.waitFor(/^unix:/, 60_000);
    dead.kill("SIGKILL");
    await dead.done;
    await using stack = new AsyncDisposableStack();
    const servers = Array.from({ length: 5 }, () => stack.use(startDavit(["hook", "serve", ...flags])));
    const begun = servers.map(async (server) => {
      const [, word] = await server.waitFor(
        /^(unix:|davit: Cannot listen on .*: another server listens there$)/m,
        60_000,
      );
      return word;
    });
    const words = await Promise.all(begun);
    const winners = servers.filter((_, index) => words[index] === "unix:");
    assert.equal(winners.length, 1, words.join("\n"));
    const client = ["hook", "status", `--server=${socket}`, `--token-file=${dir.join("token")}`, "--json"];
    assert.equal(JSON.parse((await davit(client)).stdout).pid, winners[0]!.pid);
  });
});

Deno.test("hook serve does not take its socket back from a server that has it now", async () => {
  await withToken(async (dir) => {
    const socket = dir.join("s");
    const flags = [`--socket=${socket}`, `--token-file=${dir.join("token")}`, `--rpc-dir=${dir.join("rpc")}`];
    await using first = startDavit(["hook", "serve", ...flags]);
    await first.waitFor(/^unix:/, 60_000);
    using other = replaceSocket(socket);
    await first.waitFor(/socket .* is another server's now/, 30_000);
    using client = await Deno.connect({ transport: "unix", path: socket });
    await client.write(new TextEncoder().encode("to the other"));
    // Before it come the looks of the first one, which say nothing.
    for (let text = ""; text !== "to the other";) {
      using accepted = await other.accept();
      const buffer = new Uint8Array(100);
      text = new TextDecoder().decode(buffer.subarray(0, await accepted.read(buffer) ?? 0));
    }
  });
});

/** At one stroke: the server would make it again in between. */
function replaceSocket(path: string): Deno.UnixListener {
  Deno.removeSync(path);
  return Deno.listen({ transport: "unix", path });
}

Deno.test("hook serve --detach --json tells address and process, and its files go through no planted link", async () => {
  await withToken(async (dir) => {
    await Deno.writeTextFile(dir.join("precious"), "mine");
    await Deno.symlink(dir.join("precious"), dir.join("pid"));
    const flags = ["--socket=s", "--token-file=token", "--rpc-dir=rpc", "--pid-file=pid", "--json"];
    const end = await davit(["hook", "serve", "--detach", ...flags], { cwd: dir.path });
    const { address, pid } = JSON.parse(end.stdout);
    try {
      assert.deepEqual([address, end.code], [`unix:${dir.join("s")}`, 0]);
      assert.equal(await Deno.readTextFile(dir.join("pid")), `${pid}\n`);
      assert.equal(await Deno.readTextFile(dir.join("precious")), "mine");
    } finally {
      Deno.kill(pid, "SIGTERM");
      await untilEnded(pid, 60_000);
    }
    assert.deepEqual((await namesIn(dir.path)).toSorted(), ["precious", "rpc", "token"]);
  });
});

Deno.test("hook serve goes on when nobody reads its first line", async () => {
  await withToken(async (dir) => {
    const argv = davitArgv([
      "hook",
      "serve",
      `--socket=${dir.join("s")}`,
      `--token-file=${dir.join("token")}`,
    ]);
    const client = davitArgv([
      "hook",
      "status",
      `--server=${dir.join("s")}`,
      `--token-file=${dir.join("token")}`,
    ]);
    const script = `"$@" >/dev/full 2>"$LOG" & echo $!; exec 1>&-; wait`;
    const end = await run(["sh", "-c", script, "sh", ...argv], { env: davitEnv({ LOG: dir.join("log") }) });
    // A line that cannot be written is a failure: nobody would know the address.
    assert.match(await Deno.readTextFile(dir.join("log")), /Cannot write the result to stdout/);
    assert.equal((await run(client, { env: davitEnv() })).code, 69);
    assert.match(end.stdout, /^\d+\n$/);
  });
});

Deno.test("hook serve: a log file that it cannot begin, and tokens that are none, are said in a line", async (t) => {
  await withToken(async (dir) => {
    await Deno.writeTextFile(dir.join("open"), "x\n", { mode: 0o644 });
    await Deno.writeTextFile(dir.join("empty"), "\n", { mode: 0o600 });
    await Deno.writeTextFile(dir.join("words"), "two words\n", { mode: 0o600 });
    const at = `--socket=${dir.join("s")}`;
    const token = `--token-file=${dir.join("token")}`;
    for (
      const [name, args, code, message] of [
        ["no address", [token], 64, /expected --socket FILE or --listen HOST:PORT/],
        ["no token", [at], 64, /expected --token-file or --token-fd$/m],
        ["a token in argv", [at, "--token=x"], 64, /expected --token-file or --token-fd$/m],
        [
          "no such file",
          [at, `--token-file=${dir.join("none")}`],
          66,
          /Cannot read token file ".*": there is none/,
        ],
        ["an open file", [at, `--token-file=${dir.join("open")}`], 77, /every user can read it/],
        ["an empty file", [at, `--token-file=${dir.join("empty")}`], 65, /it is empty/],
        ["two words", [at, `--token-file=${dir.join("words")}`], 65, /it holds no token/],
        ["no such descriptor", [at, "--token-fd=77"], 66, /Cannot read descriptor 77: there is none/],
        ["a file as socket", [`--socket=${dir.join("token")}`, token], 73, /what is there is no socket/],
        ["a long path", [`--socket=/${"s".repeat(200)}`, token], 69, /its path is too long for a socket/],
        ["no directory", ["--socket=/no/such/dir/s", token], 69, /its directory is not there/],
        ["a bad address", ["--listen=4711", token], 64, /--listen: expected host:port, got "4711"/],
        ["a bad port", ["--listen=:99999", token], 64, /expected a port of at most 65535/],
        ["a foreign address", ["--listen=192.0.2.1:0", token], 69, /Cannot listen on "192\.0\.2\.1:0"/],
        ["a spool that is none", [at, token, "--spool-max=4k"], 64, /--spool-max: expected 1MiB or more/],
        ["a bad lease", [at, token, "--lease=soon"], 64, /--lease: expected a duration/],
        [
          "a bad log file",
          [at, token, "--log-file=/proc/none/log"],
          73,
          /Cannot write log file "\/proc\/none\/log"/,
        ],
        ["a bad pid file", [at, token, "--pid-file=/proc/none"], 73, /Cannot write pid file "\/proc\/none"/],
        ["osdc without a token", ["--compat=osdc"], 64, /or --token$/m],
        ["osdc on a socket", ["--compat=osdc", at, "--token=x"], 64, /listens on --port alone/],
      ] as [string, string[], number, RegExp][]
    ) {
      await t.step(name, async () => {
        for (const detach of [[], ["--detach"]]) {
          const end = await davit(["hook", "serve", ...detach, ...args]);
          assert.match(end.stderr, message);
          assert.match(end.stderr, /^(ts=.*\n)*davit: [^\n]+\n(hint: [^\n]+\n)?$/);
          assert.deepEqual([end.code, end.stdout], [code, ""]);
        }
      });
    }
  });
});

Deno.test("hook serve --compat osdc --daemonize prints the fork's line and goes on", async () => {
  await using dir = await tempDir("osdc");
  const end = await davit([
    "hook",
    "serve",
    "--compat",
    "osdc",
    "--port",
    "0",
    "--token",
    "t0k",
    "--daemonize",
    `--pid-file=${dir.join("pid")}`,
  ]);
  const [, port] = /^RPC server listening on \[::\]:(\d+)\n$/.exec(end.stdout) ?? [];
  assert.ok(port, end.stdout + end.stderr);
  const pid = Number(await Deno.readTextFile(dir.join("pid")));
  try {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
    await connection.write(
      new TextEncoder().encode("GET /status HTTP/1.1\r\nHost: x\r\nX-Auth-Token: t0k\r\n\r\n"),
    );
    const buffer = new Uint8Array(1000);
    const count = await connection.read(buffer);
    assert.match(new TextDecoder().decode(buffer.subarray(0, count!)), /^HTTP\/1\.1 200 .*"status":"idle"/s);
  } finally {
    Deno.kill(pid, "SIGKILL");
  }
});

Deno.test("hook serve --spool-max: a client that does not come loses the oldest output, and is told", async () => {
  await using server = await jobServer({ flags: ["--spool-max=4MiB"] });
  const { id } = await server.start({
    argv: ["sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' y; echo last"],
  });
  while ((await server.status()).job !== null) await new Promise((resolve) => setTimeout(resolve, 200));
  const refused = await server.client.ask("GET", `/v1/jobs/${id}/stream?from=0`);
  const { first_seq } = refused.json as { first_seq: number };
  assert.equal(refused.status, 410);
  const status = (await server.client.ask("GET", `/v1/jobs/${id}`)).json as {
    result: { dropped_bytes: number; stdout_bytes: number; notices: string[] };
  };
  const { dropped_bytes, stdout_bytes, notices } = status.result;
  assert.equal(stdout_bytes, 20_000_005);
  assert.ok(dropped_bytes > 14_000_000 && dropped_bytes < 20_000_000, `${dropped_bytes}`);
  assert.match(notices.join(), new RegExp(`^${dropped_bytes} bytes of output were dropped: `));
  const { readFrames } = await import("../testdata/hook_jobs.ts");
  const frames = await readFrames(server.client, id, first_seq - 1);
  const kept = frames.filter(({ kind }) => kind === 1).reduce((sum, { payload }) => sum + payload.length, 0);
  assert.equal(kept + dropped_bytes, stdout_bytes);
});
