import assert from "node:assert/strict";
import { needs } from "../../../testdata/needs.ts";
import { SSH_HOST_PROGRAMS, type SshHosts, startSshHosts } from "../../../testdata/ssh_hosts.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { TEST_AGENT } from "../../../testdata/test_peer.ts";
import { type Log, silent } from "../log.ts";
import { openConnector } from "./open_connector.ts";
import type { Agent } from "./push.ts";
import type { Connector, Peer } from "./rpc.ts";
import { quoteWord } from "./ssh.ts";

const COMMAND: Agent = { kind: "command", words: TEST_AGENT };
const WELCOME = `ForceCommand echo Welcome; printf "no newline:"; exec sh -c "$SSH_ORIGINAL_COMMAND"`;
const signal = new AbortController().signal;

interface Options {
  readonly agent?: Agent;
  readonly log?: Log;
  readonly options?: readonly string[];
  /** 0: no shared connection. */
  readonly persistSeconds?: number;
}

function open(
  ssh: SshHosts,
  { agent = COMMAND, log = silent, options = [], persistSeconds = 60 }: Options = {},
) {
  return openConnector({
    kind: "ssh",
    agent,
    options: [...options, ...ssh.options],
    env: ssh.env,
    log,
    connectTimeoutMs: 5_000,
    persistSeconds,
  });
}

/** Of 60 s: the machine may be slow, ssh's own 5 s for a connection are not. */
function connect(connector: Connector, host: string, timeoutMs = 60_000): Promise<Peer> {
  return connector.connect(host, { signal, timeoutMs });
}

async function hostname(peer: Peer): Promise<string> {
  return (await peer.call("hello", null) as { hostname: string }).hostname;
}

Deno.test({
  ...needs({ root: true, programs: SSH_HOST_PROGRAMS }),
  name: "three sshd hosts",
  fn: async (t) => {
    await using dir = await tempDir("ssh");
    const marks = dir.join("marks");
    // The agent is run from source here, whose modules are cached in this process' home.
    const env = {
      DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
      TEST_AGENT_MARK: marks,
    };
    await using ssh = await startSshHosts([
      { name: "h1", env },
      { name: "h2", env, sshd: [WELCOME, "MaxStartups 1"] },
      { name: "h3", env, refusesLogin: true },
      { name: "yes", env, sshd: ["ForceCommand yes hello"] },
      { name: "closed", env, sshd: ["ForceCommand echo This account is currently not available.; exit 1"] },
    ]);
    const [h1, h2] = [ssh.hosts[0]!, ssh.hosts[1]!];
    const logins = (of = h1) => of.log().split("Accepted publickey").length - 1;

    await t.step("davit is brought once, also to a host with a greeting on stdout", async () => {
      const portable = dir.join("portable");
      await Deno.writeTextFile(portable, `#!/bin/sh\nexec ${TEST_AGENT.map(quoteWord).join(" ")} "$@"\n`);
      const brought: unknown[] = [];
      const log = { ...silent, info: (message: string, fields = {}) => void brought.push([message, fields]) };
      for (let round = 0; round < 2; round++) {
        await using connector = await open(ssh, { agent: { kind: "push", file: portable }, log });
        const peers = await Promise.all(["h1", "h2"].map((host) => connect(connector, host)));
        assert.deepEqual(await Promise.all(peers.map(hostname)), ["h1", "h2"]);
      }
      const { size: size_bytes } = await Deno.stat(portable);
      assert.deepEqual(
        brought.map((entry) => JSON.stringify(entry)).sort(),
        ["h1", "h2"].map((host) => JSON.stringify(["bringing davit to the host", { host, size_bytes }])),
      );
    });

    await t.step(
      "the next davit comes over the connection that is there, in a private directory",
      async () => {
        const before = logins();
        await using connector = await open(ssh);
        assert.equal(await connect(connector, "h1"), await connect(connector, "h1"));
        assert.equal(await hostname(await connect(connector, "h1")), "h1");
        // The first agent's was another connector with equal options.
        assert.equal(logins(), before);
        assert.equal(logins(), 1);
        const { mode, uid } = await Deno.stat(`${ssh.env.XDG_RUNTIME_DIR}/davit-ssh`);
        assert.deepEqual([mode! & 0o777, uid], [0o700, Deno.uid()]);
      },
    );

    await t.step("twelve at once share it, more than sshd has sessions for", async () => {
      const connectors = await Promise.all(Array.from({ length: 12 }, () => open(ssh)));
      const peers = await Promise.all(connectors.map((connector) => connect(connector, "h1")));
      assert.deepEqual(new Set(await Promise.all(peers.map(hostname))), new Set(["h1"]));
      await Promise.all(connectors.map((connector) => connector[Symbol.asyncDispose]()));
    });

    await t.step("an sshd that takes one login at a time is asked again", async () => {
      const connectors = await Promise.all(Array.from({ length: 2 }, () => open(ssh, { persistSeconds: 0 })));
      const peers = await Promise.all(connectors.map((connector) => connect(connector, "h2")));
      assert.deepEqual(await Promise.all(peers.map(hostname)), ["h2", "h2"]);
      await Promise.all(connectors.map((connector) => connector[Symbol.asyncDispose]()));
    });

    await t.step("what is wrong has a code and a message of its own", async (t) => {
      await using connector = await open(ssh, { persistSeconds: 0 });
      await using missing = await open(ssh, { agent: { kind: "command", words: ["/nope/da vit"] } });
      await using stranger = await open(ssh, {
        options: ["-o", "UserKnownHostsFile=/dev/null"],
        persistSeconds: 0,
      });
      await h1.drop();
      const cases: [string, Promise<Peer>, Record<string, unknown>][] = [
        ["dropped", connect(connector, "h1"), {
          exitStatus: 4,
          code: "unreachable",
          message:
            `Cannot reach "h1": no connection: "ssh: connect to host ${h1.address} port 22: Connection timed out"`,
        }],
        ["no such host", connect(connector, `${h1.address.replace(/\.\d+$/, "")}.99`), {
          code: "unreachable",
          message: /no connection: "ssh: connect to host .*: (No route to host|Connection timed out)"$/,
        }],
        ["no login", connect(connector, "h3"), {
          exitStatus: 4,
          code: "login_refused",
          message: /^Cannot reach "h3": its sshd refused the login: ".*: Permission denied \(publickey\)\."$/,
        }],
        ["unknown key", connect(stranger, "h2"), {
          code: "login_refused",
          message: /Host key verification failed/,
          hint: /known_hosts/,
        }],
        ["no davit", connect(missing, "h2"), {
          exitStatus: 4,
          code: "agent",
          message: /^Cannot reach "h2": .* does not start there \(status 127\): ".*\/nope\/da vit: .*"$/,
          hint: /--agent/,
        }],
        ["no shell", connect(connector, "closed"), {
          code: "agent",
          message: /\(status 1\): "This account is currently not available\."$/,
        }],
        ["another program", connect(connector, "yes"), { exitStatus: 76, code: "protocol" }],
      ];
      for (const [, promise] of cases) promise.catch(() => {});
      for (const [name, promise, expected] of cases) {
        await t.step(name, () => assert.rejects(promise, expected));
      }
      await h1.restore();
    });

    await t.step("a shared connection to a host that fell silent is found out", async () => {
      await using connector = await open(ssh);
      await h1.drop();
      await assert.rejects(connect(connector, "h1"), { code: "unreachable" });
      await h1.restore();
      assert.equal(await hostname(await connect(connector, "h1")), "h1");
    });

    await t.step("a deadline is told as such, and an abort ends the try", async () => {
      await using connector = await open(ssh, { agent: { kind: "command", words: ["sleep", "3600", "#"] } });
      await using mute = await open(ssh, {
        agent: { kind: "command", words: ["sh", "-c", "cat >/dev/null"] },
        persistSeconds: 0,
      });
      await assert.rejects(connect(connector, "h1"), { code: "agent", message: /invalid time interval/ });
      await assert.rejects(connect(mute, "h1", 2_000), { exitStatus: 4, code: "timeout" });
      const abort = new AbortController();
      const connecting = mute.connect("h1", { signal: abort.signal, timeoutMs: 60_000 });
      abort.abort(new Error("enough"));
      await assert.rejects(connecting, { message: "enough" });
    });

    await t.step("an abort ends the call there; the end of the connection ends all of it", async () => {
      await Deno.writeTextFile(marks, "");
      const connector = await open(ssh);
      const peer = await connect(connector, "h1");
      await assert.rejects(peer.call("hang", null, { timeoutMs: 100 }), { code: "timeout" });
      assert.equal(await Deno.readTextFile(marks), "given up\n");
      peer.call("hang", null).catch(() => {});
      await peer.call("echo", null);
      await connector[Symbol.asyncDispose]();
      assert.equal(await Deno.readTextFile(marks), "given up\ngiven up\nended\n");
    });

    await t.step(
      "a host that crashes rejects its calls and no other's; afterwards it is reached again",
      async () => {
        await using connector = await open(ssh, { persistSeconds: 0 });
        const [one, two] = await Promise.all(["h1", "h2"].map((host) => connect(connector, host)));
        const call = one!.call("hang", null);
        call.catch(() => {});
        await h1.restart();
        await assert.rejects(call, {
          exitStatus: 4,
          code: "connection_lost",
          message: /^Cannot hear from "h1" any more: ssh /,
        });
        assert.equal(await hostname(two!), "h2");
        assert.equal(await hostname(await connect(connector, "h1")), "h1");
        assert.ok(h2.log().length > 0);
      },
    );

    await t.step("bytes arrive as they were sent", async () => {
      await using connector = await open(ssh);
      const peer = await connect(connector, "h2");
      const pattern = crypto.getRandomValues(new Uint8Array(65_536));
      let back = 0;
      const length = await peer.call("pour", null, {
        input: ReadableStream.from(Array.from({ length: 320 }, () => pattern)),
        onBytes(_, bytes) {
          const at = back % pattern.length;
          assert.deepEqual(bytes, pattern.subarray(at, at + bytes.length));
          back += bytes.length;
        },
      });
      assert.deepEqual([length, back], [20 << 20, 20 << 20]);
    });

    await t.step("a jump host of the user's is gone through", async () => {
      await using connector = await open(ssh, { options: ["-J", "h1"], persistSeconds: 0 });
      const peer = await connect(connector, "h2");
      const { SSH_CONNECTION } = await peer.call("environment", null) as Record<string, string>;
      assert.deepEqual([await hostname(peer), SSH_CONNECTION?.split(" ")[0]], ["h2", h1.address]);
    });

    await t.step("a name that is none reaches no shell and no option", async () => {
      await using connector = await open(ssh);
      for (
        const name of ["-oProxyCommand=touch owned", "", "a b", "h1;id", "$(id)", "`id`", "h1\n", "ü", "h1'"]
      ) {
        await assert.rejects(connect(connector, name), { exitStatus: 64, code: "bad_host" });
      }
    });
  },
});
