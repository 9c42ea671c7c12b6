/**
 * The flow over three ssh hosts with a dockerd each, and in a Slurm allocation of three nodes with a podman store each:
 * made, attached to, rebooted, removed on one, wiped by nobody.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ended, hostPrograms, startContainerHosts } from "../../testdata/container_hosts.ts";
import { needs } from "../../testdata/needs.ts";

const NAMES = ["h1", "h2", "h3"];

for (
  const { name, runtime, fanOut } of [
    { name: "container flow with docker", runtime: "docker", fanOut: "ssh" },
    { name: "container flow in a Slurm allocation", runtime: "podman", fanOut: "slurm" },
  ] as const
) {
  Deno.test({
    ...needs({ root: true, programs: hostPrograms(runtime, fanOut) }),
    name,
    async fn(t) {
      await using hosts = await startContainerHosts({ runtime, fanOut, names: NAMES });
      const spec = await hosts.spec("flow");
      const onAll = (...args: string[]) => Promise.all(NAMES.map((host) => hosts.cli(host, ...args)));
      const up = async (code: number, ...more: string[]) =>
        ended(await hosts.davit(["up", "-f", spec, "--json", ...more]), code);
      let first: string[] = [];

      await t.step("made, and attached to", async () => {
        assert.equal(JSON.parse((await up(0)).stdout).action, "create");
        first = await hosts.identities("flow");
        assert.equal(JSON.parse((await up(0)).stdout).action, "attach");
        assert.deepEqual(await hosts.identities("flow"), first);
      });
      await t.step("rebooted: the same containers, with what was installed", async () => {
        ended(await hosts.davit(["exec", "-f", spec, "--", "touch", "/tmp/installed"]), 0);
        await onAll("kill", "flow");
        for (const host of NAMES) await hosts.disturb(host, "echo 'WARNING: Error parsing config file' >&2");
        assert.equal(JSON.parse((await up(0)).stdout).action, "start");
        for (const host of NAMES) await hosts.disturb(host);
        ended(await hosts.davit(["exec", "-f", spec, "--", "test", "-e", "/tmp/installed"]), 0);
        const ids = (lines: string[]) => lines.map((line) => line.split(" ")[0]);
        assert.deepEqual(ids(await hosts.identities("flow")), ids(first));
      });
      await t.step("removed on one: refused", async () => {
        await hosts.cli("h3", "rm", "--force", "flow");
        assert.match((await up(3)).stderr, /absent on h3/);
      });
      await t.step("gone with down", async () => {
        ended(await hosts.davit(["down", "-f", spec]), 0);
        assert.deepEqual(await hosts.identities("flow"), ["absent", "absent", "absent"]);
      });
    },
  });
}
