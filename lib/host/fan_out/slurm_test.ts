import assert from "node:assert/strict";
import { needs } from "../../../testdata/needs.ts";
import { SLURM_PROGRAMS, startSlurm } from "../../../testdata/slurm_cluster.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { TEST_AGENT } from "../../../testdata/test_peer.ts";
import { silent } from "../log.ts";
import { fanOut } from "./fan_out.ts";
import { openConnector } from "./open_connector.ts";
import type { Agent } from "./push.ts";
import { slurmHosts } from "./slurm.ts";
import { quoteWord } from "./ssh.ts";

const COMMAND: Agent = { kind: "command", words: TEST_AGENT };
const signal = new AbortController().signal;
const ASK = { signal, timeoutMs: 60_000 };

Deno.test("outside of a job there are no hosts", async () => {
  const expected = { exitStatus: 64, code: "no_job", hint: /--jobid/ };
  await assert.rejects(slurmHosts({ env: {}, signal }), expected);
  await assert.rejects(openConnector({ kind: "slurm", agent: COMMAND, env: {}, log: silent }), expected);
});

Deno.test({
  ...needs({ root: true, programs: SLURM_PROGRAMS }),
  name: "an allocation of three nodes",
  fn: async (t) => {
    await using dir = await tempDir("slurm-agent");
    await using slurm = await startSlurm({
      n1: { NODE_ONLY: "one and one" },
      n2: { HOME: dir.join("home") },
      n3: {},
    });
    const { env } = slurm;
    const conf = { SLURM_CONF: env.SLURM_CONF! };
    const open = (agent: Agent = COMMAND) => openConnector({ kind: "slurm", agent, env, log: silent });

    await t.step("its hosts, by the environment and by number", async () => {
      assert.deepEqual(await slurmHosts({ env, signal }), ["n1", "n2", "n3"]);
      assert.deepEqual(await slurmHosts({ env: conf, options: [`--jobid=${slurm.job}`], signal }), [
        "n1",
        "n2",
        "n3",
      ]);
      await assert.rejects(slurmHosts({ env: conf, options: ["--jobid", "4711"], signal }), {
        exitStatus: 69,
      });
    });

    await t.step("one step a node, each in its own environment; a foreign node fails alone", async () => {
      await using connector = await open();
      const outcomes = await fanOut(["n1", "n2", "n3", "n9"], async (host) => {
        const peer = await connector.connect(host, ASK);
        const { SLURMD_NODENAME, NODE_ONLY } = await peer.call("environment", null) as Record<string, string>;
        return [SLURMD_NODENAME, NODE_ONLY];
      }, { signal });
      assert.deepEqual(outcomes.map((outcome) => outcome.kind === "done" ? outcome.value : outcome.host), [
        ["n1", "one and one"],
        ["n2", undefined],
        ["n3", undefined],
        "n9",
      ]);
      const [, , , last] = outcomes;
      assert.ok(last?.kind === "failed" && last.error instanceof Error);
      assert.match(
        last.error.message,
        /^Cannot reach "n9": Slurm starts no step there: "srun: error: .*Requested node configuration is not available"$/,
      );
    });

    await t.step("bytes arrive as they were sent, whether or not a line ends among them", async () => {
      await using connector = await open();
      const peer = await connector.connect("n1", ASK);
      const pattern = crypto.getRandomValues(new Uint8Array(65_536));
      let back = 0;
      const length = await peer.call("pour", null, {
        input: ReadableStream.from(Array.from({ length: 160 }, () => pattern)),
        onBytes(_, bytes) {
          const at = back % pattern.length;
          assert.deepEqual(bytes, pattern.subarray(at, at + bytes.length));
          back += bytes.length;
        },
      });
      assert.deepEqual([length, back], [10 << 20, 10 << 20]);
      assert.deepEqual(await peer.call("echo", "no line end"), "no line end");
    });

    await t.step("davit is brought once", async () => {
      const portable = dir.join("portable");
      await Deno.writeTextFile(portable, `#!/bin/sh\nexec ${TEST_AGENT.map(quoteWord).join(" ")} "$@"\n`);
      const brought: unknown[] = [];
      const log = { ...silent, info: (message: string) => void brought.push(message) };
      for (let round = 0; round < 2; round++) {
        await using connector = await openConnector({
          kind: "slurm",
          agent: { kind: "push", file: portable },
          env,
          log,
        });
        const peer = await connector.connect("n2", ASK);
        assert.equal((await peer.call("environment", null) as Record<string, string>).HOME, dir.join("home"));
      }
      assert.deepEqual(brought, ["bringing davit to the host"]);
    });

    await t.step("what is wrong is told", async () => {
      await using missing = await open({ kind: "command", words: ["/nope/davit"] });
      await assert.rejects(missing.connect("n1", ASK), {
        exitStatus: 4,
        code: "agent",
        message: /execve.*\/nope\/davit/,
      });
      await assert.rejects(missing.connect("--exclusive", ASK), { exitStatus: 64, code: "bad_host" });
      await using connector = await open();
      const peer = await connector.connect("n1", ASK);
      await assert.rejects(peer.call("die", null), {
        code: "connection_lost",
        message: /^Cannot hear from "n1" any more: srun ended with status 137: ".*about to \\u001b\[31mdie/,
      });
      await slurm.kill("n3");
      await assert.rejects(connector.connect("n3", ASK), {
        exitStatus: 4,
        code: "unreachable",
        message: /Communication connection failure/,
      });
      assert.equal(await (await connector.connect("n1", ASK)).call("echo", 1), 1);
    });
  },
});
