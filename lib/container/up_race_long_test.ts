/**
 * Twenty `up` of one spec at the same moment, ten times.
 *
 * @module
 */
import { hostPrograms, startContainerHosts } from "../../testdata/container_hosts.ts";
import { raceUp } from "../../testdata/container_race.ts";
import { needs } from "../../testdata/needs.ts";

Deno.test({
  ...needs({ root: true, programs: hostPrograms("podman", "local") }),
  name: "container up: twenty at once, ten times: exactly one creates",
  async fn(t) {
    await using hosts = await startContainerHosts({
      runtime: "podman",
      fanOut: "local",
      names: ["localhost"],
    });
    for (let round = 1; round <= 10; round++) {
      await t.step(`round ${round}`, () => raceUp(hosts, { name: `race${round}`, count: 20 }));
    }
  },
});
