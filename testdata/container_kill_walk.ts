/**
 * The kill walk: a CLI that counts its calls and kills davit, by SIGKILL, at the one that was asked for.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type ContainerHosts, ended } from "./container_hosts.ts";

/** Kills at call `from`, `from + step`, … until an `up` ends by itself. Each walk has a container of its own. */
export async function walkKills(
  t: Deno.TestContext,
  hosts: ContainerHosts,
  { from, step }: { from: number; step: number },
): Promise<void> {
  const [host] = hosts.names;
  const script = hosts.dir.join("setup.sh");
  await Deno.writeTextFile(script, "#!/bin/sh\necho run >> /setup\n");
  let isThrough = false;
  for (let count = from; !isThrough; count += step) {
    assert.ok(count < 200, "no up came through in 200 calls");
    await t.step(`killed at call ${count}`, async () => {
      const name = `walk${count}`;
      const spec = await hosts.spec(name, { setup_script: script });
      const calls = hosts.dir.join(`calls-${count}`);
      // The call is made as well: what it does goes on, as it would where only davit dies.
      await hosts.disturb(
        host!,
        `echo >> ${calls}`,
        // Calls may be made two at a time, and a parent that is dead already is another process's number.
        `if [ "$(wc -l < ${calls})" -ge ${count} ] && tr '\\0' ' ' < /proc/$PPID/cmdline | grep -q 'container up '`,
        "then kill -KILL $PPID; fi",
      );
      const first = await hosts.davit(["up", "-f", spec]);
      await hosts.disturb(host!);
      isThrough = first.code === 0;
      if (!isThrough) assert.equal(first.signal, "SIGKILL", first.stderr);
      const again = await hosts.davit(["up", "-f", spec]);
      assert.ok(again.code === 0 || again.code === 3, `${again.code}: ${again.stderr}`);
      if (again.code === 3) {
        assert.match(again.stderr, /not provisioned|not ready|unready/);
        ended(await hosts.davit(["up", "-f", spec, "--replace"]), 0);
      }
      ended(await hosts.davit(["exec", "-f", spec, "--", "test", "-e", "/setup"]), 0);
      const labels = [
        "inspect",
        "--type=container",
        "--format",
        '{{index .Config.Labels "davit.generation"}}',
        name,
      ];
      assert.match((await hosts.cli(host!, ...labels)).stdout, /^[0-9a-f-]{36}$/m);
      ended(await hosts.davit(["down", "-f", spec]), 0);
      const left = await hosts.cli(host!, "ps", "--all", "--quiet");
      assert.equal(left.stdout, "");
    });
  }
}
