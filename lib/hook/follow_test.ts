import assert from "node:assert/strict";
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
import { HookClient } from "./client.ts";
import { followJob, type FollowOptions } from "./follow.ts";
import { JobLost } from "./lost.ts";
import { OutputSink } from "./sink.ts";

/** Follows job "j" of a server that answers with `handle`; acknowledgements are taken. */
async function followed(handle: Handler, options: Partial<FollowOptions> = {}) {
  const out = { stdout: "", stderr: "" };
  const decoder = new TextDecoder();
  const writer = (name: "stdout" | "stderr") => ({
    write(bytes: Uint8Array): Promise<number> {
      out[name] += decoder.decode(bytes);
      return Promise.resolve(bytes.length);
    },
  });
  await using server = fakeHookServer((request, path) =>
    request.method === "POST" ? Response.json({}) : handle(request, path)
  );
  using client = new HookClient({ address: server.address, token: "t" });
  const result = await followJob({
    client,
    id: "j",
    sink: new OutputSink({ stdout: writer("stdout"), stderr: writer("stderr") }),
    acknowledges: false,
    giveUpMs: 300,
    log: silent,
    signal: new AbortController().signal,
    ...options,
  });
  return { result, ...out, requests: server.requests };
}

const END = JSON.stringify(resultOf("j", 3));
const WHOLE = joined(
  frame(KIND.stdout, 1, "one\n"),
  frame(KIND.keepalive, 0),
  frame(KIND.stderr, 2, "two"),
  frame(KIND.notice, 3, "said"),
  frame(KIND.stdout, 4, "three"),
  frame(KIND.end, 5, END),
);

/** The frames after the one that the request names, in a body that ends after `most` bytes. */
function cutAt(most: number): Handler {
  return (_, path) => {
    const from = Number(/from=(\d+)$/.exec(path)![1]);
    return new Response(WHOLE.slice(offsetAfter(from)).slice(0, most));
  };
}

/** Where the frame after number `seq` begins. */
function offsetAfter(seq: number): number {
  let at = 0;
  for (;;) {
    const view = new DataView(WHOLE.buffer, at);
    if (Number(view.getBigUint64(8, true)) > seq) return at;
    at += 16 + view.getUint32(4, true);
  }
}

Deno.test("followJob() delivers each byte once, wherever connections end", async (t) => {
  const largest = 16 + END.length;
  for (const most of [largest, largest + 1, 150, WHOLE.length - 1, WHOLE.length]) {
    await t.step(`after ${most} bytes`, async () => {
      const { result, stdout, stderr } = await followed(cutAt(most));
      assert.deepEqual([result?.code, stdout, stderr], [3, "one\nthree", "two"]);
    });
  }
});

Deno.test("followJob() passes over frames that come twice", async () => {
  const { stdout } = await followed(() => new Response(joined(frame(KIND.stdout, 1, "x"), WHOLE)));
  assert.equal(stdout, "xthree");
});

Deno.test("followJob() ends a connection that is silent and asks again", async () => {
  let tries = 0;
  const { result, requests } = await followed(() => {
    if (tries++ > 0) return new Response(WHOLE);
    return new Response(new ReadableStream({ start: (stream) => stream.enqueue(frame(KIND.keepalive, 0)) }));
  }, { silenceMs: 2_000, giveUpMs: 30_000 });
  assert.equal(result?.code, 3);
  assert.equal(requests.length, 2);
});

Deno.test("followJob() goes on after what was released, and says so", async () => {
  const { stdout, stderr } = await followed((_, path) =>
    path.endsWith("from=0")
      ? Response.json({ error: { code: "released", message: "gone" }, first_seq: 4 }, { status: 410 })
      : new Response(WHOLE.slice(offsetAfter(3)))
  );
  assert.equal(stdout, "three");
  assert.match(stderr, /^davit: output before frame 4 is not to be had any more/);
});

Deno.test("followJob() stops at the last frame that is wanted", async () => {
  const { result, stdout, stderr } = await followed(() => new Response(WHOLE), { until: 2 });
  assert.deepEqual([result, stdout, stderr], [undefined, "one\n", "two"]);
});

Deno.test("followJob() acknowledges the end", async () => {
  const { requests } = await followed(() => new Response(WHOLE), { acknowledges: true });
  assert.deepEqual(requests, ["GET /v1/jobs/j/stream?from=0", "POST /v1/jobs/j/ack"]);
});

Deno.test("followJob() says what is wrong with a server", async (t) => {
  for (
    const [name, handle, expected] of [
      ["it does not know the job", () => undefined, { lostBy: "job_unknown" }],
      ["it sends something else", () => new Response("<html>".repeat(9)), { code: "not_a_hook_server" }],
      ["it sends an unknown frame", () => new Response(frame(9, 1)), { code: "not_a_hook_server" }],
      ["it does not accept the token", () => new Response(null, { status: 401 }), { code: "bad_token" }],
      [
        "it answers with 400",
        () => Response.json({ error: { code: "bad_id", message: "no" } }, { status: 400 }),
        {
          code: "bad_id",
        },
      ],
    ] as [string, Handler, { lostBy?: string; code?: string }][]
  ) {
    await t.step(name, async () => {
      await assert.rejects(followed(handle), (error: unknown) => {
        assert.ok(error instanceof Failure, String(error));
        if (expected.lostBy !== undefined) {
          assert.ok(error instanceof JobLost && error.lostBy === expected.lostBy);
        }
        if (expected.code !== undefined) assert.equal(error.code, expected.code);
        return true;
      });
    });
  }
});

Deno.test("followJob() does not take its own reader's stall for the server's", async () => {
  let tries = 0;
  let stallMs = 4_000;
  const stalled = {
    write(bytes: Uint8Array): Promise<number> {
      const ms = stallMs;
      stallMs = 0;
      return new Promise((ok) => setTimeout(ok, ms, bytes.length));
    },
  };
  const { result } = await followed(() => {
    if (tries++ === 1) return new Response("", { status: 502 });
    return new Response(tries === 1 ? frame(KIND.stdout, 1, "one\n") : WHOLE);
  }, { giveUpMs: 3_000, sink: new OutputSink({ stdout: stalled, stderr: stalled }) });
  assert.deepEqual([result?.code, tries], [3, 3]);
});

Deno.test("followJob() gives up on a server that answers with nothing but 502", async () => {
  await assert.rejects(
    followed(() => new Response("<html>", { status: 502 })),
    (error) => error instanceof JobLost && /it answers with status 502/.test(error.evidence[0]!),
  );
});

Deno.test("followJob() gives up on a server that is gone", async () => {
  const server = fakeHookServer(() => new Response(frame(KIND.stdout, 1, "x")));
  using client = new HookClient({ address: server.address, token: "t" });
  await server[Symbol.asyncDispose]();
  const sink = new OutputSink({ stdout: Deno.stdout, stderr: Deno.stderr });
  const signal = new AbortController().signal;
  await assert.rejects(
    followJob({ client, id: "j", sink, acknowledges: true, giveUpMs: 200, log: silent, signal }),
    (error) =>
      error instanceof JobLost && error.lostBy === "server_gone" && /nobody listens/.test(error.evidence[0]!),
  );
});
