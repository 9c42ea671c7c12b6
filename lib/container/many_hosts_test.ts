/**
 * 33 hosts: one more than are worked on at once.
 *
 * @module
 */
import { useManyHosts } from "../../testdata/container_many.ts";
import { MANY_HOSTS_PROGRAMS } from "../../testdata/many_hosts.ts";
import { needs } from "../../testdata/needs.ts";

Deno.test({
  ...needs({ programs: MANY_HOSTS_PROGRAMS }),
  name: "container on 33 hosts: plan, attach and exec come to their end",
  fn: (t) => useManyHosts(t, 33),
});
