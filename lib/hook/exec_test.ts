import assert from "node:assert/strict";
import { cuttingProxy, type Mischief } from "../../testdata/cutting_proxy.ts";
import {
  fakeHookServer,
  frame,
  type Handler,
  joined,
  KIND,
  resultOf,
} from "../../testdata/fake_hook_server.ts";
import { Failure } from "../failure.ts";
import { silent } from "../host/log.ts";
import { parseServer, type ServerAddress } from "./address.ts";
import { HookClient } from "./client.ts";
import { execJob, type ExecOptions } from "./exec.ts";
import { JobLost } from "./lost.ts";
import { OutputSink } from "./sink.ts";

/** A server that starts each id once and whose jobs end at once, or when they are killed. */
function hookServer(special: Handler = () => undefined, { untilKilled = false } = {}) {
  const started = new Map<string, number>();
  const kills: unknown[] = [];
  const killed = Promise.withResolvers<void>();
  const handle: Handler = async (request, path) => {
    const answer = await special(request, path);
    if (answer !== undefined) return answer;
    const id = /^\/v1\/jobs\/([^/]+)/.exec(path)?.[1] ?? "";
    if (path === "/status") return Response.json({ status: "ok", version: "0", instance: "first" });
    if (request.method === "PUT") {
      const isNew = !started.has(id);
      if (isNew) started.set(id, 1);
      return Response.json({ id, status: "running", acked_seq: 0, last_seq: 0 }, {
        status: isNew ? 201 : 200,
      });
    }
    if (path.endsWith("/kill")) {
      kills.push(await request.json());
      killed.resolve();
      return Response.json({}, { status: 202 });
    }
    if (path.endsWith("/ack")) return Response.json({});
    if (untilKilled) await killed.promise;
    const end = frame(KIND.end, 2, JSON.stringify(resultOf(id, untilKilled ? 130 : 3)));
    return new Response(joined(frame(KIND.stdout, 1, "ran\n"), end));
  };
  return Object.assign(fakeHookServer(handle as Handler), { started, kills });
}

async function executed(address: ServerAddress, options: Partial<ExecOptions> = {}) {
  let stdout = "";
  const write = (bytes: Uint8Array) => {
    stdout += new TextDecoder().decode(bytes);
    return Promise.resolve(bytes.length);
  };
  using client = new HookClient({ address, token: "t" });
  const result = await execJob({
    client,
    id: "job",
    spec: { argv: ["true"] },
    sink: new OutputSink({ stdout: { write }, stderr: { write } }),
    giveUpMs: 5_000,
    connectMs: 300,
    listen() {},
    log: silent,
    ...options,
  });
  return { result, stdout };
}

Deno.test("execJob() starts a job once whatever becomes of the reply", async (t) => {
  for (
    const [how, delayMs] of [["lose", 0], ["delay", 500], ["repeat", 0], ["resend", 0]] as [
      Mischief["how"],
      number,
    ][]
  ) {
    await t.step(how, async () => {
      await using server = hookServer();
      const mischief = { request: /^PUT \S*\/v1\/jobs\//, how, delayMs };
      await using proxy = cuttingProxy(server.address as Deno.ConnectOptions, { mischief });
      const { result, stdout } = await executed(parseServer(proxy.address));
      assert.equal(proxy.mischiefs(), 1);
      assert.deepEqual([result.code, stdout, [...server.started]], [3, "ran\n", [["job", 1]]]);
    });
  }
});

Deno.test("execJob() does not start a job again on a server that was started since", async () => {
  let health = 0;
  await using server = hookServer((_, path) =>
    path === "/status" ? Response.json({ status: "ok", instance: `number ${++health}` }) : undefined
  );
  await using proxy = cuttingProxy(server.address as Deno.ConnectOptions, {
    mischief: { request: /^PUT \S*\/v1\/jobs\//, how: "lose" },
  });
  await assert.rejects(
    executed(parseServer(proxy.address)),
    (error) => error instanceof JobLost && error.lostBy === "server_restarted",
  );
  assert.equal(server.requests.filter((request) => request.startsWith("PUT")).length, 1);
});

Deno.test("execJob() waits for a server that is in trouble for a moment", async () => {
  let puts = 0;
  await using server = hookServer(({ method }) =>
    method === "PUT" && puts++ < 2
      ? Response.json({ error: { code: "full", message: "no" } }, { status: 503 })
      : undefined
  );
  const { result } = await executed(server.address);
  assert.deepEqual([result.code, puts], [3, 3]);
});

Deno.test("execJob() says why a job was not started", async (t) => {
  const busy = {
    error: { code: "busy", message: "x" },
    running: { id: "other", status: "running", age_ms: 1500 },
  };
  for (
    const [name, special, exit, code, message] of [
      [
        "another runs",
        ({ method }) => method === "PUT" ? Response.json(busy, { status: 409 }) : undefined,
        75,
        "busy",
        /step "other" is running there for 1\.5 s/,
      ],
      [
        "bad spec",
        ({ method }) =>
          method === "PUT"
            ? Response.json({ error: { code: "bad_spec", message: "env A: too long\u001b[2J" } }, {
              status: 400,
            })
            : undefined,
        65,
        "bad_spec",
        /env A: too long\\u001b\[2J$/,
      ],
      [
        "no hook server",
        () => Response.json({ hello: 1 }),
        76,
        "not_a_hook_server",
        /without an instance in its status/,
      ],
      ["no JSON", () => new Response("hello"), 76, "not_a_hook_server", /no JSON/],
      ["broken for good", () => Response.json({}, { status: 500 }), 69, "http_500", /status 500/],
    ] as [string, Handler, number, string, RegExp][]
  ) {
    await t.step(name, async () => {
      await using server = hookServer(special);
      await assert.rejects(executed(server.address), (error: unknown) => {
        assert.ok(error instanceof Failure, String(error));
        assert.deepEqual([error.exitStatus, error.code], [exit, code]);
        assert.match(error.message, message);
        return true;
      });
    });
  }
  await t.step("nobody there", async () => {
    await assert.rejects(
      executed({ transport: "unix", path: "/nonexistent/d.sock" }, { connectMs: 200 }),
      (error) => error instanceof Failure && error.code === "server_unreachable" && error.exitStatus === 69,
    );
  });
});

Deno.test("execJob() passes signals on", async (t) => {
  for (
    const [name, signals, kills] of [
      ["one SIGINT: the server escalates", ["SIGINT"], [{}]],
      ["SIGINT twice", ["SIGINT", "SIGINT"], [{}, { signal: "TERM" }]],
      ["SIGTERM", ["SIGTERM"], [{ signal: "TERM" }]],
      ["SIGINT, then SIGTERM", ["SIGINT", "SIGTERM"], [{}, { signal: "TERM" }]],
    ] as [string, Deno.Signal[], unknown[]][]
  ) {
    await t.step(name, async () => {
      let signal: (name: Deno.Signal) => void = () => {};
      await using server = hookServer((_, path) => {
        if (path.includes("/stream")) { for (const each of signals) signal(each); }
        return undefined;
      }, { untilKilled: true });
      const { result } = await executed(server.address, { listen: (handler) => signal = handler });
      assert.equal(result.code, 130);
      assert.deepEqual(
        server.kills.toSorted((a, b) => JSON.stringify(a) < JSON.stringify(b) ? 1 : -1),
        kills,
      );
    });
  }
  await t.step("before the start: nothing runs", async () => {
    let signal: (name: Deno.Signal) => void = () => {};
    await using server = hookServer((_, path) => {
      if (path !== "/status") return undefined;
      signal("SIGINT");
      return Response.json({}, { status: 500 });
    });
    await assert.rejects(
      executed(server.address, { listen: (handler) => signal = handler }),
      (error) => error instanceof Failure && error.exitStatus === 130,
    );
    assert.equal(server.started.size, 0);
  });
});

Deno.test("execJob() ends the job when its output has nowhere to go", async () => {
  await using server = hookServer();
  const write = () => Promise.reject(new Deno.errors.BrokenPipe("gone"));
  await assert.rejects(
    executed(server.address, { sink: new OutputSink({ stdout: { write }, stderr: { write } }) }),
    (error) => error instanceof Failure && error.code === "output_closed" && error.exitStatus === 141,
  );
  assert.deepEqual(server.kills, [{}]);
});
