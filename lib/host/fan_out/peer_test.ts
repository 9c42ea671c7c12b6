import assert from "node:assert/strict";
import { isAlive } from "../../../testdata/alive.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { testPeer } from "../../../testdata/test_peer.ts";
import { testHandlers } from "../../../testdata/test_agent.ts";
import { WINDOW_BYTES } from "./flow.ts";
import { localPeer } from "./local.ts";
import type { Peer } from "./rpc.ts";

const PATTERN = crypto.getRandomValues(new Uint8Array(65_536));

async function* patternOf(sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let sent = 0; sent < sizeBytes; sent += PATTERN.length) yield PATTERN;
}

async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadlineMs) throw new Error(`still not: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** In this process, and in one of its own behind pipes. */
const KINDS: [string, () => Promise<Peer>][] = [
  ["local", () => localPeer({ handlers: testHandlers, [Symbol.asyncDispose]: () => Promise.resolve() })],
  ["a child", () => testPeer({ endGraceMs: 500 })],
];

for (const [kind, open] of KINDS) {
  Deno.test(`${kind}: calls, failures, streams, messages, aborts`, async (t) => {
    const peer = await open();

    await t.step("values", async () => {
      const value = {
        text: "ü\n\u0000'\"$(x)",
        list: [1, null, true],
        deep: { a: { b: "c".repeat(2_000_000) } },
      };
      assert.deepEqual(await peer.call("echo", value), value);
      assert.equal(await peer.call("echo", undefined), null);
    });

    await t.step("many calls at once", async () => {
      const numbers = Array.from({ length: 200 }, (_, index) => index);
      assert.deepEqual(await Promise.all(numbers.map((number) => peer.call("echo", number))), numbers);
    });

    await t.step("failures keep exit, code, message and hint", async () => {
      const busy = {
        name: "Failure",
        exitStatus: 75,
        code: "busy",
        message: "Cannot do it: it is busy",
        hint: "wait",
      };
      await assert.rejects(peer.call("fail", {}), busy);
      await assert.rejects(peer.call("break", {}), {
        exitStatus: 70,
        code: "bug",
        message: /TypeError: a bug/,
      });
      await assert.rejects(peer.call("toString", {}), { exitStatus: 76, code: "unknown_method" });
      await assert.rejects(peer.call("echo", "x".repeat(17 << 20)), { code: "too_large" });
    });

    await t.step("100 MB out and back, byte for byte", async () => {
      const sizeBytes = 100 << 20;
      let back = 0;
      const length = await peer.call("pour", null, {
        input: patternOf(sizeBytes),
        onBytes(channel, bytes) {
          assert.equal(channel, 1);
          const at = back % PATTERN.length;
          assert.deepEqual(bytes, PATTERN.subarray(at, at + bytes.length));
          back += bytes.length;
        },
      });
      assert.deepEqual([length, back], [sizeBytes, sizeBytes]);
    });

    await t.step("no input is an input at its end", async () => {
      assert.equal(await peer.call("pour", null), 0);
    });

    await t.step("a slow reader holds back its own call and no other", async () => {
      const release = Promise.withResolvers<void>();
      const first = Promise.withResolvers<void>();
      let toldBytes = 0;
      let takenBytes = 0;
      const sizeBytes = 4 << 20;
      const slow = peer.call("spew", { sizeBytes }, {
        async onBytes(channel, bytes) {
          assert.equal(channel, 2);
          first.resolve();
          await release.promise;
          takenBytes += bytes.length;
        },
        onMessage: (message) => toldBytes = message as number,
      });
      await first.promise;
      // Two whole round trips later it has sent its window and not more.
      for (let round = 0; round < 20; round++) assert.equal(await peer.call("echo", round), round);
      assert.ok(toldBytes <= WINDOW_BYTES, `${toldBytes} bytes are under way`);
      assert.equal(await peer.call("pour", null, { input: patternOf(1 << 20) }), 1 << 20);
      release.resolve();
      await slow;
      assert.deepEqual([takenBytes, toldBytes], [sizeBytes, sizeBytes]);
    });

    await t.step("messages go both ways while a call runs, in order", async () => {
      const heard: unknown[] = [];
      const abort = new AbortController();
      const call = peer.call("talk", null, {
        messages: ReadableStream.from([{ signal: "SIGINT" }, { columns: 80, rows: 24 }, null]),
        signal: abort.signal,
        onMessage(message) {
          heard.push(message);
          if (heard.length === 3) abort.abort(new Error("all heard"));
        },
      });
      await assert.rejects(call, { message: "all heard" });
      assert.deepEqual(heard, [{ heard: { signal: "SIGINT" } }, { heard: { columns: 80, rows: 24 } }, {
        heard: null,
      }]);
    });

    await t.step("an abort rejects with its reason", async () => {
      const abort = new AbortController();
      const reason = new Error("enough");
      const call = peer.call("hang", null, { signal: abort.signal });
      await peer.call("echo", 1);
      abort.abort(reason);
      await assert.rejects(call, reason);
      await assert.rejects(peer.call("echo", 1, { signal: abort.signal }), reason);
      assert.equal(await peer.call("echo", "still there"), "still there");
    });

    await t.step("a call whose reader fails is ended there, too", async () => {
      const broken = new Error("disk full");
      await assert.rejects(
        peer.call("spew", { sizeBytes: 1 << 30 }, { onBytes: () => Promise.reject(broken) }),
        broken,
      );
      await assert.rejects(
        peer.call("pour", null, {
          input: (async function* () {
            yield PATTERN;
            await Promise.resolve();
            throw broken;
          })(),
        }),
        broken,
      );
    });

    if (kind === "a child") {
      await t.step("a deaf handler cannot hold an abort for ever", async () => {
        await assert.rejects(peer.call("deaf", null, { timeoutMs: 50 }), { code: "timeout" });
      });
    }

    const closing = peer.call("hang", null);
    closing.catch(() => {});
    await peer.close();
    await assert.rejects(closing, { code: "connection_lost", message: /it was closed here/ });
    assert.equal(await peer.closed, undefined);
    await assert.rejects(peer.call("echo", 1), { code: "connection_lost" });
  });
}

Deno.test("an abort is heard by the handler, and the caller's end by all", async () => {
  await using dir = await tempDir("peer");
  const path = dir.join("mark");
  const marks = () => Deno.readTextFileSync(path).split("\n").filter(Boolean);
  {
    await using peer = await testPeer({ env: { TEST_AGENT_MARK: path } });
    await assert.rejects(peer.call("hang", null, { timeoutMs: 100 }), {
      exitStatus: 124,
      code: "timeout",
      message: 'Cannot finish "hang" on "far": no answer within 100 ms',
    });
    assert.deepEqual(marks(), ["given up"]); // it was waited for
    peer.call("hang", null).catch(() => {});
    await peer.call("echo", null);
  }
  assert.deepEqual(marks(), ["given up", "given up", "ended"]);
});

Deno.test("a connection whose process is killed rejects all calls and says what became of it", async () => {
  await using peer = await testPeer();
  const hanging = peer.call("hang", null);
  hanging.catch(() => {});
  const expected = {
    exitStatus: 4,
    code: "connection_lost",
    message: 'Cannot hear from "far" any more: env ended by SIGKILL: "about to \\u001b[31mdie"',
  };
  await assert.rejects(peer.call("die", null), expected);
  await assert.rejects(hanging, expected);
  assert.equal((await peer.closed as { code?: string }).code, "connection_lost");
  await assert.rejects(peer.call("echo", 1), expected);
});

Deno.test("foreign bytes in the middle end the connection with one clear failure", async () => {
  const peer = await testPeer();
  const hanging = peer.call("hang", null);
  hanging.catch(() => {});
  const expected = {
    exitStatus: 76,
    code: "protocol",
    message:
      /^Cannot understand "far": other bytes .* beginning with "Broadcast message from root: rebooting/,
  };
  await assert.rejects(peer.call("blurt", null), expected);
  await assert.rejects(hanging, expected);
  await peer.close();
});

Deno.test("a greeting on stdout is skipped; a program that is no davit is told", async (t) => {
  await t.step("a greeting", async () => {
    await using peer = await testPeer({
      env: { TEST_AGENT_SAYS: "Welcome to the cluster!\nNo newline here:" },
    });
    assert.equal(await peer.call("echo", 1), 1);
  });
  await t.step("no davit", async () => {
    await assert.rejects(testPeer({ argv: ["sh", "-c", "echo not available; echo why >&2; exit 3"] }), {
      exitStatus: 4,
      code: "agent",
      message: 'Cannot reach "far": status 3, stderr "why", greeting "not available"',
    });
  });
  await t.step("one that talks without end", async () => {
    await assert.rejects(testPeer({ argv: ["yes", "hello"] }), { exitStatus: 76, code: "protocol" });
  });
  await t.step("no such program", async () => {
    await assert.rejects(testPeer({ argv: ["/nope"] }), { code: "agent", message: /status 127/ });
  });
});

Deno.test("a silent program is ended at the deadline, and with an abort at once", async (t) => {
  await using dir = await tempDir("peer");
  const pidFile = dir.join("pid");
  const argv = ["sh", "-c", `echo $$ >${pidFile}; trap '' TERM; while :; do sleep 1; done`] as const;
  const pid = () => Number(Deno.readTextFileSync(pidFile));
  await t.step("deadline", async () => {
    await assert.rejects(testPeer({ argv: [...argv], timeoutMs: 3_000 }), { exitStatus: 4, code: "timeout" });
    await until(() => !isAlive(pid()));
  });
  await t.step("abort", async () => {
    await Deno.remove(pidFile);
    const abort = new AbortController();
    const peer = testPeer({ argv: [...argv], signal: abort.signal });
    peer.catch(() => {});
    await until(() => {
      try {
        return pid() > 0;
      } catch {
        return false;
      }
    });
    abort.abort(new Error("enough"));
    await assert.rejects(peer, { message: "enough" });
    await until(() => !isAlive(pid()));
  });
});

Deno.test("close() ends a child that ignores the end of its input", async () => {
  // It says hello and then hears nothing; SIGTERM is ignored too.
  const script = `trap '' TERM; printf 'davit-agent-wire 1\\n'; while :; do sleep 1; done`;
  const peer = await testPeer({ argv: ["sh", "-c", script], endGraceMs: 500 });
  const call = peer.call("echo", "x".repeat(8 << 20)); // more than a pipe takes
  call.catch(() => {});
  await peer.close();
  await assert.rejects(call, { code: "connection_lost" });
});

Deno.test("the child is in a session of its own", async () => {
  await using peer = await testPeer();
  const { pid } = await peer.call("hello", null) as { pid: number };
  const sessionOf = async (of: number | "self") =>
    (await Deno.readTextFile(`/proc/${of}/stat`)).split(" ")[5];
  assert.notEqual(await sessionOf(pid), await sessionOf("self"));
});
