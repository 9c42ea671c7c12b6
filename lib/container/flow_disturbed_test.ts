/**
 * What destroys containers elsewhere and must not here: reboots, pauses, a CLI that warns, another spec, another
 * lifetime, somebody else's container; over three ssh hosts with podman.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ended, hostPrograms, startContainerHosts } from "../../testdata/container_hosts.ts";
import { IMAGE } from "../../testdata/engines.ts";
import { needs } from "../../testdata/needs.ts";

const NAMES = ["h1", "h2", "h3"];

Deno.test({
  ...needs({ root: true, programs: hostPrograms("podman", "ssh") }),
  name: "container flow: nothing that is running, stopped or another's is ever wiped by mistake",
  async fn(t) {
    await using hosts = await startContainerHosts({ runtime: "podman", fanOut: "ssh", names: NAMES });
    const spec = await hosts.spec("flow");
    const onAll = (...args: string[]) => Promise.all(NAMES.map((host) => hosts.cli(host, ...args)));
    const ids = async () => (await hosts.identities("flow")).map((line) => line.split(" ")[0]);
    ended(await hosts.davit(["up", "-f", spec]), 0);
    await onAll("exec", "flow", "touch", "/tmp/installed");
    const hasMarkers = async () =>
      (await onAll("exec", "flow", "test", "-e", "/tmp/installed")).every(({ code }) => code === 0);
    let first = await hosts.identities("flow");
    const made = await ids();

    await t.step("6: all rebooted: started, the same containers with what was installed", async () => {
      await onAll("kill", "flow");
      const { stderr } = ended(await hosts.davit(["up", "-f", spec]), 0);
      assert.doesNotMatch(stderr, /error/);
      assert.deepEqual(await ids(), made);
      assert.ok(await hasMarkers());
      first = await hosts.identities("flow");
    });

    await t.step("7: all paused: unpaused", async () => {
      await onAll("pause", "flow");
      ended(await hosts.davit(["up", "-f", spec]), 0);
      assert.deepEqual(await hosts.identities("flow"), first);
      assert.ok(await hasMarkers());
    });

    for (const [row, noisy] of [["9: on one host", ["h1"]], ["8: everywhere", NAMES]] as const) {
      await t.step(`${row} the CLI warns on every call: attached`, async () => {
        for (const host of noisy) await hosts.disturb(host, "echo 'WARNING: flow is deprecated' >&2");
        ended(await hosts.davit(["up", "-f", spec]), 0);
        for (const host of noisy) await hosts.disturb(host);
        assert.deepEqual(await hosts.identities("flow"), first);
      });
    }

    await t.step(
      "11: the same name with another image and environment: refused, field by field",
      async () => {
        const other = await hosts.spec("flow", { image: `${IMAGE}-other`, env: { A: "new" } });
        const { stderr } = ended(await hosts.davit(["up", "-f", other]), 3);
        assert.match(stderr, /image: /);
        assert.match(stderr, /env\.?A/);
        ended(await hosts.davit(["attach", "-f", other]), 3);
        assert.deepEqual(await hosts.identities("flow"), first);
      },
    );

    await t.step(
      "12: the same name with the lifetime left out: refused, and `up` says that it cannot",
      async () => {
        const perRun = await hosts.spec("flow", { lifetime: "per_run" });
        ended(await hosts.davit(["run", "-f", perRun, "--", "true"]), 3);
        assert.match(ended(await hosts.davit(["up", "-f", perRun]), 64).stderr, /per_run/);
        assert.deepEqual(await hosts.identities("flow"), first);
      },
    );

    await t.step("somebody else's container: refused, joined on request, never removed", async () => {
      await onAll("run", "--detach", "--name=alien", "--network=host", IMAGE, "sleep", "1000");
      const before = await hosts.identities("alien");
      const alien = await hosts.spec("alien");
      ended(await hosts.davit(["up", "-f", alien, "--replace"]), 3);
      ended(await hosts.davit(["down", "-f", alien]), 3);
      ended(await hosts.davit(["attach", "-f", alien, "--adopt"]), 0);
      ended(await hosts.davit(["exec", "-f", alien, "--adopt", "--", "true"]), 0);
      const joining = await hosts.spec("alien", { lifetime: "no_launch" });
      ended(await hosts.davit(["up", "-f", joining]), 0);
      assert.deepEqual(await hosts.identities("alien"), before);
    });
  },
});
