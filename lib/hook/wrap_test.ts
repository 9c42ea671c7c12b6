import assert from "node:assert/strict";
import { Failure } from "../failure.ts";
import { untilEnded } from "../../testdata/alive.ts";
import { OutputSink } from "./sink.ts";
import { wrapHook, type WrapOptions } from "./wrap.ts";

const GUESS =
  "[OSDC] Step script exited with code 1. This is a script/workflow error, not an infrastructure issue.";

function textOf(input: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new Blob([input]).stream();
}

/** Wraps a hook that is a shell script. */
async function wrapped(script: string, options: Partial<WrapOptions> & { input?: string } = {}) {
  const pieces: Record<"stdout" | "stderr", Uint8Array[]> = { stdout: [], stderr: [] };
  const writer = (name: "stdout" | "stderr") => ({
    write(bytes: Uint8Array): Promise<number> {
      pieces[name].push(bytes.slice());
      return Promise.resolve(bytes.length);
    },
  });
  const end = await wrapHook({
    argv: ["sh", "-c", script],
    stdin: textOf(options.input ?? ""),
    sink: new OutputSink({ stdout: writer("stdout"), stderr: writer("stderr") }),
    listen() {},
    ...options,
  });
  const joined = async (name: "stdout" | "stderr") =>
    await new Blob(pieces[name].map((piece) => piece.slice())).text();
  return { ...end, stdout: await joined("stdout"), stderr: await joined("stderr") };
}

/** A server that answers as the fork's own does; `exitCode` is what it reports. */
function forkServer(token: string, exitCode: () => number | null) {
  let polls = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, ({ headers, url }) => {
    if (headers.get("x-auth-token") !== token) return new Response(null, { status: 403 });
    if (!url.endsWith("/status")) return new Response(null, { status: 404 });
    const [id, status] = polls++ === 0 ? ["null", "idle"] : ['"s1"', "failed"];
    return Response.json(
      JSON.parse(`{"id":${id},"status":"${status}","exit_code":${polls === 1 ? null : exitCode()}}`),
    );
  });
  return Object.assign(server, { port: server.addr.port });
}

function payload(port: number, token: string): string {
  const state = { jobPod: "p", rpcPodIp: "127.0.0.1", rpcPort: port, rpcToken: token };
  return `${JSON.stringify({ command: "run_script_step", responseFile: "/r", args: {}, state })}\n`;
}

Deno.test("wrapHook() passes input, both outputs and the code through, byte for byte", async () => {
  const input = '{"command":"x"}\n\u0000\u00e9 more, no line feed at the end';
  const { code, signal, stdout, stderr, verdict } = await wrapped("cat; printf 'e\\r1' >&2", { input });
  assert.deepEqual([code, signal, stdout, stderr, verdict], [0, null, input, "e\r1", undefined]);
});

Deno.test("wrapHook() replaces the guess by what is known", async (t) => {
  await t.step("nothing is known", async () => {
    const { code, stdout, stderr } = await wrapped(`echo out; echo "${GUESS}"; exit 1`);
    assert.equal(code, 1);
    assert.equal(stdout, "out\n");
    assert.match(
      stderr,
      /^::error title=Hook failed%3A exit code 1::.*Nothing here tells whose fault it is\.\n$/,
    );
  });
  await t.step("the hook's own words tell", async () => {
    const { stderr, stdout } = await wrapped(
      `echo "::error::Error: Pod was evicted"; echo "${GUESS}" >&2; exit 1`,
    );
    assert.equal(stdout, "::error::Error: Pod was evicted\n");
    assert.match(stderr, /^::error title=Pod evicted::.*failure of the infrastructure.*Pod was evicted\.\n$/);
  });
  await t.step("it ended well all the same", async () => {
    const { code, stdout, stderr } = await wrapped(`echo "${GUESS}"`);
    assert.deepEqual([code, stdout, stderr], [0, "", `${GUESS}\n`]);
  });
  await t.step("in the middle of a line of stderr", async () => {
    const { stderr } = await wrapped(`printf half >&2; exit 3`);
    assert.match(stderr, /^half\n::error title=Hook failed%3A exit code 3::/);
  });
});

Deno.test("wrapHook() asks the job's hook server", async (t) => {
  for (
    const [name, code, reported, expected] of [
      ["the script's own code", 3, 3, /title=Step failed%3A exit code 3::.*script's own failure/],
      ["the script was killed", 247, -9, /title=Step ended by signal 9::.*Nothing here tells/],
      ["the hook failed by itself", 1, 3, /title=Hook failed%3A exit code 1::.*Nothing here tells/],
    ] as const
  ) {
    await t.step(name, async () => {
      const token = crypto.randomUUID();
      await using server = forkServer(token, () => reported);
      const { stderr } = await wrapped(`cat >&2; exit ${code}`, { input: payload(server.port, token) });
      assert.match(stderr, expected);
    });
  }
  await t.step("it is gone", async () => {
    const token = crypto.randomUUID();
    const server = forkServer(token, () => null);
    const { port } = server;
    await server.shutdown();
    const { stderr } = await wrapped("cat >/dev/null; exit 1", { input: payload(port, token) });
    assert.match(stderr, /title=Hook server not reachable::.*infrastructure.*nobody listens there\.\n$/);
  });
});

Deno.test("wrapHook() passes signals to the hook and ends as it does", async () => {
  let signal: (name: Deno.Signal) => void = () => {};
  const { promise: isReady, resolve } = Promise.withResolvers<void>();
  const pieces: Uint8Array[] = [];
  const write = (bytes: Uint8Array) => {
    pieces.push(bytes.slice());
    resolve();
    return Promise.resolve(bytes.length);
  };
  const ended = wrapped("trap 'echo trapped; trap - INT; kill -INT $$' INT; sleep 60 & echo ready $!; wait", {
    sink: new OutputSink({ stdout: { write }, stderr: { write } }),
    listen: (handler) => signal = handler,
    drainMs: 2_000,
  });
  await isReady;
  signal("SIGINT");
  const { code, signal: by, verdict } = await ended;
  const text = new TextDecoder().decode(new Uint8Array(pieces.flatMap((piece) => [...piece])));
  const [, pid] = /^ready (\d+)\ntrapped\ndavit: a process that the hook left behind still holds its output/
    .exec(text)!;
  Deno.kill(Number(pid), "SIGKILL");
  await untilEnded(Number(pid));
  assert.deepEqual([code, by, verdict?.title], [130, "SIGINT", "Step cancelled"]);
});

Deno.test("wrapHook() does not wait for what the hook left behind, nor for input that it does not read", async () => {
  const never = new ReadableStream<Uint8Array<ArrayBuffer>>();
  const { code, stdout, stderr } = await wrapped("sleep 60 & echo $!; exit 0", {
    stdin: never,
    drainMs: 100,
  });
  try {
    assert.equal(code, 0);
    assert.match(stderr, /^davit: a process that the hook left behind/);
  } finally {
    Deno.kill(Number(stdout), "SIGKILL");
    await untilEnded(Number(stdout));
  }
});

Deno.test("wrapHook() says why a hook cannot be started", async (t) => {
  for (const [program, exit] of [["/no/such/hook.sh", 127], ["/etc/passwd", 126]] as const) {
    await t.step(program, async () => {
      await assert.rejects(
        wrapped("", { argv: [program] }),
        (error) => error instanceof Failure && error.exitStatus === exit && error.message.includes(program),
      );
    });
  }
});
