import assert from "node:assert/strict";
import { isAlive } from "../../testdata/alive.ts";
import { ask, exec, type Reply, script, TOKEN, untilEnded, withServer } from "../../testdata/osdc_client.ts";

Deno.test("osdc: requests and exact replies of a server that is idle", async (t) => {
  const idle = '{"id":null,"status":"idle","exit_code":null}';
  const JSON_TYPE = "application/json";
  const OCTETS = "application/octet-stream";
  const wrong = { token: "not-the-token" };
  const none = { token: null };
  const body = (text: string | Uint8Array) => ({ body: text });
  await withServer(async (port) => {
    for (
      const [request, options, status, reply, type] of [
        ["GET /health", none, 200, '{"status":"ok"}', JSON_TYPE],
        ["GET /health?x=1", none, 200, '{"status":"ok"}', JSON_TYPE],
        ["POST /health", none, 403, "", undefined],
        ["POST /health", {}, 404, "", undefined],
        ["GET /status", {}, 200, idle, JSON_TYPE],
        ["GET /status?x", {}, 200, idle, JSON_TYPE],
        ["GET /status", none, 403, "", undefined],
        ["GET /status", wrong, 403, "", undefined],
        ["GET /status", { token: "" }, 403, "", undefined],
        ["GET /status", { token: `${TOKEN}x` }, 403, "", undefined],
        ["POST /status", {}, 404, "", undefined],
        ["GET /logs", none, 403, "", undefined],
        ["GET /logs", {}, 200, "", OCTETS],
        ["GET /logs?stream=stderr&offset=7", {}, 200, "", OCTETS],
        ["GET /logs?stream=nonsense&offset=-1", {}, 200, "", OCTETS],
        ["POST /heartbeat", {}, 200, '{"status":"ok"}', JSON_TYPE],
        ["POST /heartbeat", wrong, 403, "", undefined],
        ["GET /heartbeat", {}, 404, "", undefined],
        ["POST /kill", {}, 200, idle, JSON_TYPE],
        ["POST /kill", wrong, 403, "", undefined],
        ["GET /kill", {}, 404, "", undefined],
        ["POST /exec", { ...wrong, body: '{"id":"a","path":"/b"}' }, 403, "", undefined],
        ["GET /exec", {}, 404, "", undefined],
        ["POST /exec", body("not json at all"), 400, '{"error":"invalid body"}', JSON_TYPE],
        ["POST /exec", body(""), 400, '{"error":"invalid body"}', JSON_TYPE],
        ["POST /exec", body('{"id":1,"path":"/b"}'), 400, '{"error":"invalid body"}', JSON_TYPE],
        ["POST /exec", body('{"id":"a"}'), 400, '{"error":"missing id or path"}', JSON_TYPE],
        ["POST /exec", body("{}"), 400, '{"error":"missing id or path"}', JSON_TYPE],
        ["POST /exec", body(Uint8Array.of(0x7b, 0xff, 0x7d)), 400, '{"error":"read failed"}', JSON_TYPE],
        ["GET /nothing", {}, 404, "", undefined],
        ["GET /nothing", wrong, 403, "", undefined],
        ["DELETE /status", {}, 404, "", undefined],
        ["GET /status", {}, 200, idle, JSON_TYPE],
      ] as [string, { token?: string | null; body?: string }, number, string, string | undefined][]
    ) {
      await t.step(`${request} ${JSON.stringify(options)}`, async () => {
        const [method = "", path = ""] = request.split(" ");
        const answer = await ask(port, method, path, options);
        assert.deepEqual([answer.status, answer.body], [status, reply]);
        assert.equal(answer.headers.get("content-type"), type);
        if (type === OCTETS) assert.equal(answer.headers.get("x-more-data"), "false");
      });
    }
  });
});

Deno.test("osdc: a job's life in exact replies", async (t) => {
  await withServer(async (port, dir) => {
    const gate = dir.join("gate");
    const first = await script(
      dir,
      "a.sh",
      `printf 'out\\0\\r'; echo err >&2; while [ ! -e '${gate}' ]; do sleep 0.05; done; exit 3`,
    );
    await t.step("it runs", async () => {
      assert.deepEqual(pick(await exec(port, "a", first)), [200, '{"id":"a","status":"running"}']);
      assert.deepEqual(pick(await ask(port, "GET", "/status")), [
        200,
        '{"id":"a","status":"running","exit_code":null}',
      ]);
    });
    await t.step("a second one is refused, the same one is not", async () => {
      assert.deepEqual(pick(await exec(port, "b", first)), [409, '{"error":"A job is already running"}']);
      assert.deepEqual(pick(await exec(port, "a", first)), [200, '{"id":"a","status":"running"}']);
    });
    await t.step("it ended", async () => {
      await Deno.writeTextFile(gate, "");
      assert.equal(await untilEnded(port), '{"id":"a","status":"failed","exit_code":3}');
      assert.deepEqual(pick(await ask(port, "POST", "/kill")), [
        200,
        '{"id":"a","status":"failed","exit_code":3}',
      ]);
      assert.deepEqual(pick(await exec(port, "a", first)), [200, '{"id":"a","status":"running"}']);
      assert.equal((await ask(port, "GET", "/status")).body, '{"id":"a","status":"failed","exit_code":3}');
    });
    await t.step("its output", async () => {
      for (
        const [query, expected] of [
          ["", "out\0\r"],
          ["?stream=stdout", "out\0\r"],
          ["?stream=stdout&offset=2", "t\0\r"],
          ["?offset=+2", "t\0\r"],
          ["?offset=5", ""],
          ["?offset=99", ""],
          ["?offset=x", "out\0\r"],
          ["?stream=stderr", "err\n"],
          ["?stream=stderr&offset=1&offset=2", "rr\n"],
        ] as const
      ) assert.equal((await ask(port, "GET", `/logs${query}`)).body, expected, query);
    });
    await t.step("the next one", async () => {
      const second = await script(dir, "b.sh", "exit 0");
      assert.deepEqual(pick(await exec(port, 'q"\\\u0001', second)), [
        200,
        '{"id":"q\\"\\\\\\u0001","status":"running"}',
      ]);
      assert.equal(await untilEnded(port), '{"id":"q\\"\\\\\\u0001","status":"completed","exit_code":0}');
      assert.equal((await ask(port, "GET", "/logs")).body, "");
    });
    await t.step("a script that is not there", async () => {
      assert.equal((await exec(port, "../../x", "/no/such/script.sh")).status, 200);
      assert.match(
        await untilEnded(port),
        /^\{"id":"\.\.\/\.\.\/x","status":"failed","exit_code":(2|127)\}$/,
      );
    });
    await t.step("signals are negative", async () => {
      await exec(port, "nine", await script(dir, "c.sh", "kill -9 $$"));
      assert.equal(await untilEnded(port), '{"id":"nine","status":"failed","exit_code":-9}');
    });
    await t.step("the job may be killed before the server when memory is short", async () => {
      await exec(port, "oom", await script(dir, "d.sh", "cat /proc/self/oom_score_adj"));
      await untilEnded(port);
      assert.equal((await ask(port, "GET", "/logs")).body, "0\n");
    });
  });
});

Deno.test("osdc: /logs gives 1 MiB at most and says whether there is more", async () => {
  await withServer(async (port, dir) => {
    const total = 1_048_576 + 51_424;
    await exec(port, "big", await script(dir, "big.sh", `head -c ${total} /dev/zero | tr '\\0' a`));
    await untilEnded(port);
    const first = await ask(port, "GET", "/logs?stream=stdout&offset=0");
    assert.deepEqual([first.body.length, first.headers.get("x-more-data")], [1_048_576, "true"]);
    const second = await ask(port, "GET", "/logs?stream=stdout&offset=1048576");
    assert.deepEqual([second.body.length, second.headers.get("x-more-data")], [51_424, "false"]);
    assert.match(first.body + second.body, /^a+$/);
  });
});

Deno.test("osdc: /kill is SIGTERM, the grace, SIGKILL, and `killing` in between", async (t) => {
  await withServer(async (port, dir) => {
    await t.step("a job that goes", async () => {
      await exec(port, "soft", await script(dir, "soft.sh", "sleep 30"));
      assert.equal(
        (await ask(port, "POST", "/kill")).body,
        '{"id":"soft","status":"failed","exit_code":-15}',
      );
      assert.equal(
        (await ask(port, "POST", "/kill")).body,
        '{"id":"soft","status":"failed","exit_code":-15}',
      );
    });
    await t.step("a job that stays, and its child in a session of its own", async () => {
      const stubborn = await script(
        dir,
        "hard.sh",
        "trap '' TERM; setsid sleep 61 & echo $!; while :; do sleep 0.2; done",
      );
      await exec(port, "hard", stubborn);
      let pid = "";
      while (pid === "") pid = (await ask(port, "GET", "/logs")).body.trim();
      const begun = performance.now();
      let isKilled = false;
      const killed = ask(port, "POST", "/kill").finally(() => isKilled = true);
      while (!(await ask(port, "GET", "/status")).body.includes('"killing"')) assert.ok(!isKilled);
      assert.equal(
        (await ask(port, "GET", "/status")).body,
        '{"id":"hard","status":"killing","exit_code":null}',
      );
      assert.equal((await exec(port, "next", stubborn)).status, 409);
      assert.equal((await killed).body, '{"id":"hard","status":"failed","exit_code":-9}');
      assert.ok(performance.now() - begun >= 2_900);
      assert.ok(!isAlive(Number(pid)));
    });
  }, { RPC_KILL_GRACE_SECS: "3" });
});

Deno.test("osdc: without a heartbeat the job is killed, with one it is not", async () => {
  await withServer(async (port, dir) => {
    await exec(port, "stale", await script(dir, "stale.sh", "sleep 30"));
    assert.equal(await untilEnded(port), '{"id":"stale","status":"failed","exit_code":-15}');
    await exec(port, "kept", await script(dir, "kept.sh", "sleep 6"));
    const beat = setInterval(() => void ask(port, "POST", "/heartbeat").catch(() => {}), 200);
    try {
      assert.equal(await untilEnded(port), '{"id":"kept","status":"completed","exit_code":0}');
    } finally {
      clearInterval(beat);
    }
  }, { RPC_HEARTBEAT_TIMEOUT_SECS: "4", RPC_WATCHDOG_TICK_SECS: "1" });
});

function pick({ status, body }: Reply): [number, string] {
  return [status, body];
}
