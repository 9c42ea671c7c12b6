/**
 * The flow "install in one run, use it in the next" over three ssh hosts with podman: what the peer's tests do, and
 * what a stopped or removed container on one host means.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ended, hostPrograms, startContainerHosts } from "../../testdata/container_hosts.ts";
import { needs } from "../../testdata/needs.ts";

const NAMES = ["h1", "h2", "h3"];

Deno.test({
  ...needs({ root: true, programs: hostPrograms("podman", "ssh") }),
  name: "container flow: installed in one process, used in the next, in the same containers",
  async fn(t) {
    await using hosts = await startContainerHosts({ runtime: "podman", fanOut: "ssh", names: NAMES });
    const spec = await hosts.spec("flow");
    const up = async (code: number, ...more: string[]) =>
      ended(await hosts.davit(["up", "-f", spec, "--json", ...more]), code);
    const hasMarker = async (host: string) =>
      (await hosts.cli(host, "exec", "flow", "test", "-e", "/tmp/installed")).code === 0;
    let first: string[] = [];

    await t.step("1: absent everywhere: created", async () => {
      const result = JSON.parse((await up(0)).stdout);
      assert.equal(result.action, "create");
      first = await hosts.identities("flow");
      assert.equal(new Set(first).size, 3);
      assert.ok(!first.includes("absent"));
      assert.deepEqual(
        result.hosts.map(({ id }: { id: string }) => id),
        first.map((line) => line.split(" ")[0]),
      );
    });

    await t.step("2: again: attached, and nothing is other than it was", async () => {
      const inspected = async () =>
        await Promise.all(NAMES.map(async (host) => (await hosts.cli(host, "inspect", "flow")).stdout));
      const before = await inspected();
      assert.equal(JSON.parse((await up(0)).stdout).action, "attach");
      assert.deepEqual(await inspected(), before);
    });

    await t.step("3: what one run installs the next one finds, and its teardown takes nothing", async () => {
      const install = ["exec", "-f", spec, "--", "touch", "/tmp/installed"];
      ended(await hosts.davit(install), 0);
      ended(await hosts.davit(["run", "-f", spec, "--", "test", "-e", "/tmp/installed"]), 0);
      assert.deepEqual(await hosts.identities("flow"), first);
    });

    await t.step("4: stopped on one: started there, its overlay kept", async () => {
      await hosts.cli("h2", "kill", "flow");
      const { stdout, stderr } = await up(0);
      assert.match(stderr + stdout, /h2/);
      const now = await hosts.identities("flow");
      assert.deepEqual([now[0], now[2]], [first[0], first[2]]);
      assert.equal(now[1]!.split(" ")[0], first[1]!.split(" ")[0]);
      assert.ok(await hasMarker("h2"));
      first = now;
    });

    await t.step(
      "4b: removed on one: refused and named, the others untouched; --fill makes that one",
      async () => {
        await hosts.cli("h2", "rm", "--force", "flow");
        const { stderr } = await up(3);
        assert.match(stderr, /absent on h2/);
        assert.deepEqual(await hosts.identities("flow"), [first[0], "absent", first[2]]);
        ended(await hosts.davit(["exec", "-f", spec, "--", "true"]), 3);
        assert.equal(JSON.parse((await up(0, "--fill")).stdout).action, "fill");
        const now = await hosts.identities("flow");
        assert.deepEqual([now[0], now[2]], [first[0], first[2]]);
        assert.notEqual(now[1], "absent");
        assert.ok(!await hasMarker("h2"));
        assert.ok(await hasMarker("h1"));
        first = now;
      },
    );

    await t.step("5: started by hand: attached, the marker still there", async () => {
      await hosts.cli("h1", "stop", "--time", "0", "flow");
      await hosts.cli("h1", "start", "flow");
      const now = await hosts.identities("flow");
      assert.equal(JSON.parse((await up(0)).stdout).action, "attach");
      assert.deepEqual(await hosts.identities("flow"), now);
      assert.ok(await hasMarker("h1"));
    });

    await t.step("down removes them everywhere, twice", async () => {
      ended(await hosts.davit(["down", "-f", spec]), 0);
      assert.deepEqual(await hosts.identities("flow"), ["absent", "absent", "absent"]);
      ended(await hosts.davit(["down", "-f", spec]), 0);
    });
  },
});
