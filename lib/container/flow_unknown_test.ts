/**
 * Why nothing is known of a host, six ways, each with its own words, and nothing touched on any host.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ended, hostPrograms, startContainerHosts } from "../../testdata/container_hosts.ts";
import { needs } from "../../testdata/needs.ts";

Deno.test({
  ...needs({ root: true, programs: hostPrograms("podman", "ssh") }),
  name: "container up: a host that is unknown refuses all, with the reason in words of its own",
  async fn(t) {
    await using hosts = await startContainerHosts({ runtime: "podman", fanOut: "ssh", names: ["h1", "h2"] });
    const spec = await hosts.spec("flow");
    ended(await hosts.davit(["up", "-f", spec]), 0);
    const first = await hosts.identities("flow");
    const said = new Map<string, string>();
    const refused = async (code: string, ...more: string[]) => {
      const { stderr } = ended(await hosts.davit(["up", "-f", spec, "--json", ...more]), 4);
      const { error } = JSON.parse(stderr.trim().split("\n").at(-1)!);
      assert.equal(error.code, code);
      assert.match(error.message, /h2/);
      said.set(code, error.message);
      assert.deepEqual(await hosts.identities("flow"), first);
    };
    const dies = (code: number, words: string) => hosts.disturb("h2", `echo '${words}' >&2`, `exit ${code}`);

    await t.step("10: unreachable", async () => {
      await hosts.ssh("h2").drop();
      await refused("unreachable", "--host-timeout", "15s");
      const status = await hosts.davit(["status", "-f", spec, "--host-timeout", "15s"]);
      assert.match(ended(status, 4).stdout, /h1 +running(.|\n)*h2 +unknown: unreachable/);
      ended(await hosts.davit(["exec", "-f", spec, "--host-timeout", "15s", "--", "true"]), 4);
      const some = ["exec", "-f", spec, "--host-timeout", "15s", "--allow-missing", "1", "--", "true"];
      ended(await hosts.davit(some), 0);
      await hosts.ssh("h2").restore();
    });
    await t.step("the daemon is down", async () => {
      await dies(
        125,
        "Error: unable to connect to Podman. Please verify your connection to the Linux system",
      );
      await refused("daemon");
      await hosts.disturb("h2");
    });
    await t.step("no permission", async () => {
      await dies(126, "Error: mkdir /run/libpod: permission denied");
      await refused("permission");
      await hosts.disturb("h2");
    });
    await t.step("sudo wants a password", async () => {
      const sudo = `${hosts.dir.join("h2")}/sudo`;
      await Deno.writeTextFile(sudo, "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n", {
        mode: 0o755,
      });
      await Deno.writeTextFile(`${hosts.dir.join("h1")}/sudo`, '#!/bin/sh\nshift 2\nexec "$@"\n', {
        mode: 0o755,
      });
      await refused("sudo", "--sudo", "always");
      await Deno.remove(sudo);
    });
    await t.step("the CLI hangs", async () => {
      await hosts.disturb("h2", "exec sleep 3600");
      await refused("timeout", "--host-timeout", "15s");
      await hosts.disturb("h2");
    });
    await t.step("a CLI that warns is none of them", async () => {
      await hosts.disturb("h2", "echo 'Error: mkdir /run/libpod: permission denied' >&2");
      ended(await hosts.davit(["up", "-f", spec]), 0);
      await hosts.disturb("h2");
    });
    await t.step("an agent that is not there", () => refused("agent", "--agent", "/no/such/davit"));
    await t.step("all words are different", () => assert.equal(new Set(said.values()).size, said.size));
  },
});
