import assert from "node:assert/strict";
import { type JobServer, jobServer } from "../testdata/hook_jobs.ts";
import { needs, privateMounts } from "../testdata/needs.ts";
import { otherUsers } from "../testdata/other_user.ts";
import { run } from "../testdata/run.ts";

/** All that /proc shows of all processes, and what a job inherits. */
const SNOOP = `
for dir in /proc/[0-9]*; do
  cat $dir/environ $dir/cmdline $dir/comm 2>/dev/null | tr '\\0' '\\n'
  for fd in $dir/fd/*; do [ -f "$fd" ] && cat "$fd" 2>/dev/null; done
done
if (exec 9<"/proc/$SERVER/mem"); then echo "its memory is op""en"; fi
true`; // this text is in a command line itself

Deno.test({
  ...needs({ root: true, programs: ["unshare", "setpriv", "mount"], kernel: [privateMounts] }),
  name: "hook serve: neither another user nor the job itself finds the token",
  fn: async (t) => {
    await using users = await otherUsers();
    await using server = await jobServer({
      program: users.argv(8001, "main.ts", []),
      flags: ["--rpc-dir=/dev/shm/davit-test-8001"],
    });
    const env = { SERVER: String(server.process.pid) };
    await t.step("a job of the same user", async () => {
      const { stdout, stderr, result } = await server.sh(`id -u; echo canary-of-the-job; ${SNOOP}`, { env });
      assert.equal(result.code, 0);
      assert.match(stdout, /^8001\ncanary-of-the-job\n/);
      assert.ok(stdout.split("canary-of-the-job").length > 2, "it can look into processes of its own");
      assert.ok(!stdout.includes(server.token) && !stdout.includes("its memory is open"));
      assert.match(stderr, /mem: .*denied/i);
    });
    await t.step("another user", async () => {
      const argv = ["setpriv", "--reuid=8002", "--regid=8002", "--clear-groups", "sh", "-c", SNOOP];
      const { stdout, stderr } = await run(argv, { env: { ...env, TOKEN_IS_NOT_HERE: "1" } });
      assert.ok(stdout.includes("TOKEN_IS_NOT_HERE"));
      assert.ok(!stdout.includes(server.token) && !stdout.includes("its memory is open"));
      assert.match(stderr, /mem: .*denied/i);
    });
    await t.step("nothing is inherited but the three streams", async () => {
      const { stdout } = await server.sh("exec ls -l /proc/self/fd");
      const targets = stdout.split("\n").map((line) => line.split(" -> ")[1]).filter(Boolean);
      assert.ok(!targets.some((target) => /token|\.sock|rpc/.test(target!)), stdout);
    });
  },
});

/** Sends bytes and reads what comes until the server closes, or not at all. */
async function raw(
  server: JobServer,
  pieces: readonly (string | Uint8Array)[],
  read = true,
): Promise<string> {
  const [hostname = "", port] = server.address.split(":");
  const connection = await Deno.connect({ hostname, port: Number(port) });
  try {
    for (const piece of pieces) {
      let bytes = typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
      while (bytes.length > 0) bytes = bytes.subarray(await connection.write(bytes));
    }
    if (!read) return "";
    const buffer = new Uint8Array(4096);
    const count = await connection.read(buffer);
    return new TextDecoder().decode(buffer.subarray(0, count ?? 0));
  } catch (error) {
    return `cut: ${(error as Error).name}`; // refused before it was read to its end
  } finally {
    connection.close();
  }
}

const statusOf = (reply: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(reply)?.[1] ?? 0);

function request(method: string, path: string, token: string, body?: string): string {
  const lines = [
    `${method} ${path} HTTP/1.1`,
    "Host: x",
    "Connection: close",
    `Authorization: Bearer ${token}`,
    ...body === undefined ? [] : [`Content-Length: ${new TextEncoder().encode(body).length}`],
  ];
  return `${lines.join("\r\n")}\r\n\r\n${body ?? ""}`;
}

Deno.test("hook serve: a thousand wrong tokens and malformed requests leave it serving", async (t) => {
  await using server = await jobServer();
  const { token } = server;
  const descriptors = () => [...Deno.readDirSync(`/proc/${server.process.pid}/fd`)].length;
  await server.sh("true");
  const before = descriptors();
  await t.step("wrong tokens", async () => {
    const wrong = [
      ...["", "x", token.slice(1), `${token}x`, token.toUpperCase(), `${token.slice(0, -1)}?`, "é"],
    ];
    const paths = ["/status", "/v1/jobs/a", "/v1/jobs/a/stream", "/nothing"];
    for (let count = 0; count < 1000; count++) {
      const reply = await raw(server, [request("GET", paths[count % 4]!, wrong[count % wrong.length]!)]);
      assert.equal(statusOf(reply), 401, reply);
    }
    assert.equal(
      statusOf(await raw(server, ["GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])),
      401,
    );
    assert.equal((await server.status()).job, null);
  });
  for (
    const [name, method, path, body, status] of [
      ["no JSON", "PUT", "/v1/jobs/a", "{", 400],
      ["another type", "PUT", "/v1/jobs/a", "[]", 400],
      ["no body", "PUT", "/v1/jobs/a", undefined, 400],
      ["no UTF-8 in it", "PUT", "/v1/jobs/a", '{"argv":["\ud800"]}', 201],
      ["deep JSON", "PUT", "/v1/jobs/b", `{"argv":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, 400],
      ["an id with dots and slashes", "PUT", "/v1/jobs/../../etc", "{}", 404],
      ["an encoded one", "PUT", "/v1/jobs/..%2F..%2Fetc", "{}", 400],
      ["a hidden one", "PUT", "/v1/jobs/.hidden", "{}", 400],
      ["no percent-encoding", "PUT", "/v1/jobs/%zz", "{}", 400],
      ["a long one", "PUT", `/v1/jobs/${"a".repeat(129)}`, "{}", 400],
      ["an unknown path", "GET", "/etc/passwd", undefined, 404],
      ["an unknown job", "GET", "/v1/jobs/none", undefined, 404],
      ["an unknown job's stream", "GET", "/v1/jobs/none/stream?from=0", undefined, 404],
      ["an unknown method", "DELETE", "/v1/jobs/a", undefined, 405],
      ["a number that is none", "GET", "/v1/jobs/a/stream?from=-1", undefined, 400],
      ["an ack that is none", "POST", "/v1/jobs/a/ack", '{"seq":"1"}', 400],
      ["a signal that is none", "POST", "/v1/jobs/a/kill", '{"signal":"USR1"}', 400],
    ] as [string, string, string, string | undefined, number][]
  ) {
    await t.step(name, async () => {
      const reply = await raw(server, [request(method, path, token, body)]);
      assert.equal(statusOf(reply), status, reply);
      if (status >= 400) assert.match(reply, /\{"error":\{"code":"\w+","message":".*"\}\}/);
    });
  }
  await t.step("100 MB of body", async () => {
    const head = request("PUT", "/v1/jobs/big", token).replace(
      "\r\n\r\n",
      "\r\nContent-Length: 100000000\r\n\r\n",
    );
    const reply = await raw(server, [head, ...Array.from({ length: 100 }, () => new Uint8Array(1_000_000))]);
    assert.ok(reply.startsWith("cut: ") || statusOf(reply) === 413, reply);
    const chunked = request("PUT", "/v1/jobs/big", token).replace(
      "\r\n\r\n",
      "\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    const chunk = `100000\r\n${" ".repeat(0x100000)}\r\n`;
    const second = await raw(server, [chunked, ...Array.from({ length: 100 }, () => chunk)]);
    assert.ok(second.startsWith("cut: ") || statusOf(second) === 413, second);
    const { rss } = JSON.parse(await memoryOf(server));
    assert.ok(rss < 200 << 20, `${rss}`);
  });
  await t.step("no HTTP, and headers without an end", async () => {
    assert.notEqual(statusOf(await raw(server, ["\x16\x03\x01\x02\x00\x01\x00"])), 200);
    assert.notEqual(
      statusOf(await raw(server, [`GET / HTTP/1.1\r\nX: ${"a".repeat(400_000)}\r\n\r\n`])),
      200,
    );
    const [hostname = "", port] = server.address.split(":");
    const slow = await Promise.all(Array.from({ length: 300 }, async () => {
      const connection = await Deno.connect({ hostname, port: Number(port) });
      await connection.write(new TextEncoder().encode("PUT /v1/jobs/slow HTTP/1.1\r\nHost: x\r\nX-"));
      return connection;
    }));
    assert.equal((await server.sh("exit 6")).result.code, 6);
    for (const connection of slow) connection.close();
  });
  await t.step("it serves, and holds nothing of all that", async () => {
    assert.equal((await server.sh("exit 7")).result.code, 7);
    for (const deadline = performance.now() + 60_000; descriptors() > before + 5;) {
      assert.ok(performance.now() < deadline, `${before} descriptors before, ${descriptors()} now`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });
});

async function memoryOf(server: JobServer): Promise<string> {
  const text = await (await server.client.open("GET", "/metrics")).text();
  return JSON.stringify({ rss: Number(/resident_memory_bytes (\d+)$/m.exec(text)?.[1]) });
}
