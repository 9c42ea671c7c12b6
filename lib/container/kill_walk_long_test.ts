/**
 * Kills `container up` at its N-th call of the runtime's CLI, for every N until one comes through: the next `up` gets
 * it right, or refuses by the table, and nothing without labels is left.
 *
 * @module
 */
import { hostPrograms, startContainerHosts } from "../../testdata/container_hosts.ts";
import { walkKills } from "../../testdata/container_kill_walk.ts";
import { needs } from "../../testdata/needs.ts";

Deno.test({
  ...needs({ root: true, programs: hostPrograms("podman", "local") }),
  name: "container up: killed at every one of its calls",
  async fn(t) {
    await using hosts = await startContainerHosts({
      runtime: "podman",
      fanOut: "local",
      names: ["localhost"],
    });
    await walkKills(t, hosts, { from: 1, step: 1 });
  },
});
