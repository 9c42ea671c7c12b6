/**
 * sshd in the containers of three hosts, each in a network of its own: reached from each other, by keys of their own,
 * after a restart too; and a port that somebody else holds.
 *
 * @module
 */
import assert from "node:assert/strict";
import {
  type ContainerHosts,
  ended,
  hostPrograms,
  startContainerHosts,
} from "../../testdata/container_hosts.ts";
import { IMAGE } from "../../testdata/engines.ts";
import { needs } from "../../testdata/needs.ts";
import { SSHD_ROOT_PROGRAMS, sshdTar } from "../../testdata/sshd_root.ts";
import { knownHosts } from "./sshd_keys.ts";

const NAMES = ["h1", "h2", "h3"];
const PORT = 2224;

Deno.test("known_hosts names every host and address once, with the port where it is not 22", () => {
  const hosts = [{ name: "a", address: "10.0.0.1" }, { name: "b", address: "b" }];
  assert.equal(
    knownHosts(hosts, 2224, "ssh-ed25519 KEY comment\n"),
    "[a]:2224 ssh-ed25519 KEY\n[10.0.0.1]:2224 ssh-ed25519 KEY\n[b]:2224 ssh-ed25519 KEY\n",
  );
  assert.match(knownHosts(hosts, 22, "ssh-ed25519 KEY"), /^a ssh-ed25519 KEY\n10/);
});

Deno.test({
  ...needs({ root: true, programs: [...hostPrograms("podman", "ssh"), ...SSHD_ROOT_PROGRAMS] }),
  name: "container sshd: from each container to the others",
  async fn(t) {
    const ways = { runtime: "podman", fanOut: "ssh", names: NAMES, rootTar: sshdTar } as const;
    await using hosts = await startContainerHosts(ways);
    const spec = await hosts.spec("mpi", { sshd: { port: PORT } });
    const across = [
      "sh",
      "-c",
      'for host in $DAVIT_ADDRESSES; do ssh -F /.davit/ssh/config "$host" hostname; done',
    ];
    const addresses = NAMES.map((name) => hosts.ssh(name).address).join(" ");
    const reach = async () =>
      ended(
        await hosts.davit([
          "exec",
          "-f",
          spec,
          "-e",
          `DAVIT_ADDRESSES=${addresses}`,
          "--json",
          "--",
          ...across,
        ]),
        0,
      );

    await t.step("a port that another holds is refused, with who holds it", async () => {
      const sshd =
        `ssh-keygen -q -t ed25519 -N '' -f /tmp/key; mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e -f /dev/null -p ${PORT} -h /tmp/key`;
      const other = ["run", "--detach", "--name=other", "--network=host", IMAGE, "bash", "-c", sshd];
      // In the network of h2, as if made there by somebody else.
      const { code, stderr: said } = await hosts.ssh("h2").run([
        `${hosts.dir.join("h2-netns")}/podman`,
        ...other,
      ]);
      assert.equal(code, 0, said);
      await untilLogged(hosts, "h2", /listening on/);
      const { stderr } = ended(await hosts.davit(["up", "-f", spec]), 5);
      assert.match(stderr, new RegExp(`port ${PORT} is held by`));
      await hosts.cli("h2", "rm", "--force", "other");
    });

    await t.step("then it is mended, and every container reaches every other", async () => {
      const again = await hosts.davit(["up", "-f", spec]);
      if (again.code === 3) ended(await hosts.davit(["up", "-f", spec, "--replace"]), 0);
      else ended(again, 0);
      for (const { stdout } of JSON.parse((await reach()).stdout).hosts) assert.equal(stdout, "h1\nh2\nh3\n");
    });

    await t.step("after a reboot, with the same keys", async () => {
      const key = async () =>
        (await hosts.cli("h1", "exec", "mpi", "cat", "/.davit/ssh/id_ed25519.pub")).stdout;
      const before = await key();
      for (const host of NAMES) await hosts.cli(host, "kill", "mpi");
      ended(await hosts.davit(["up", "-f", spec]), 0);
      assert.equal(await key(), before);
      await reach();
    });

    await t.step("nothing of the user's ~/.ssh is inside", async () => {
      const { stdout } = await hosts.cli(
        "h1",
        "exec",
        "mpi",
        "sh",
        "-c",
        "ls -a /root/.ssh /host_ssh 2>/dev/null; true",
      );
      assert.equal(stdout.trim(), "");
    });
  },
});

async function untilLogged(hosts: ContainerHosts, host: string, pattern: RegExp): Promise<void> {
  let said = "";
  for (let left = 100; left > 0; left--) {
    const { stdout, stderr } = await hosts.cli(host, "logs", "other");
    if (pattern.test(stdout + stderr)) return;
    said = stdout + stderr;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`the other sshd never said ${pattern}: ${said}`);
}
