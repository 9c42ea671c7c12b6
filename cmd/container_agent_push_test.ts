import assert from "node:assert/strict";
import { openConnector } from "../lib/host/fan_out/open_connector.ts";
import { silent } from "../lib/host/log.ts";
import { VERSION } from "../lib/version.ts";
import { needs } from "../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../testdata/portable.ts";
import { SSH_HOST_PROGRAMS, startSshHosts } from "../testdata/ssh_hosts.ts";

Deno.test({
  ...needs({ root: true, programs: [...SSH_HOST_PROGRAMS, ...BUILD_PROGRAMS] }),
  name: "the portable file comes to a host that has nothing of davit, once, and is its agent",
  fn: async () => {
    const file = await portableFile();
    await using ssh = await startSshHosts([{ name: "bare" }]);
    const said: string[] = [];
    const log = { ...silent, info: (message: string) => void said.push(message) };
    for (let round = 0; round < 2; round++) {
      await using connector = await openConnector({
        kind: "ssh",
        agent: { kind: "push", file },
        options: ssh.options,
        env: ssh.env,
        log,
      });
      // The first start unpacks 100 MB.
      const peer = await connector.connect("bare", {
        signal: new AbortController().signal,
        timeoutMs: 300_000,
      });
      assert.deepEqual(await peer.call("hello", { version: VERSION }), {
        version: VERSION,
        hostname: "bare",
      });
    }
    assert.deepEqual(said, ["bringing davit to the host"]);
    const names = await Array.fromAsync(Deno.readDir(`${ssh.hosts[0]!.home}/.cache/davit/agent`));
    assert.match(names.map(({ name }) => name).join(" "), /^davit-[0-9a-f]{64}$/);
  },
});
