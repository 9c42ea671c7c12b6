/**
 * 300 hosts, 32 of them at once.
 *
 * @module
 */
import { execWithAgents, planWithAgents, useManyHosts } from "../../testdata/container_many.ts";
import { MANY_HOSTS_PROGRAMS } from "../../testdata/many_hosts.ts";
import { needs } from "../../testdata/needs.ts";

Deno.test({
  ...needs({ programs: MANY_HOSTS_PROGRAMS }),
  name: "container on 300 hosts: plan, attach and exec come to their end",
  fn: (t) => useManyHosts(t, 300),
});

Deno.test({
  ...needs({ programs: MANY_HOSTS_PROGRAMS }),
  name: "container on 300 hosts with an agent each",
  fn: () => planWithAgents(300),
});

Deno.test({
  ...needs({ programs: MANY_HOSTS_PROGRAMS }),
  name: "container exec on 33 hosts with an agent each",
  fn: () => execWithAgents(33),
});
