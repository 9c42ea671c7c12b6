/**
 * Several `up` of one spec at the same moment: one creates, the others attach, and there is one generation.
 *
 * @module
 */
import { hostPrograms, startContainerHosts } from "../../testdata/container_hosts.ts";
import { raceUp } from "../../testdata/container_race.ts";
import { needs } from "../../testdata/needs.ts";

Deno.test({
  ...needs({ root: true, programs: hostPrograms("podman", "local") }),
  name: "container up: four at once make one container, and all of them end with it",
  async fn() {
    await using hosts = await startContainerHosts({
      runtime: "podman",
      fanOut: "local",
      names: ["localhost"],
    });
    await raceUp(hosts, { name: "race", count: 4 });
  },
});
