import assert from "node:assert/strict";
import { type ExecHost, exitStatusOf } from "./exec.ts";
import { rankEnv } from "./rank_env.ts";

const host = (status: number, code: number | null = status): ExecHost => ({
  host: "h",
  code,
  timedOut: false,
  durationMs: 1,
  status,
});

Deno.test("exec: the same everywhere is passed on, else 5, and an unknown host makes it 4", () => {
  assert.equal(exitStatusOf([host(0), host(0)]), 0);
  assert.equal(exitStatusOf([host(7), host(7)]), 7);
  assert.equal(exitStatusOf([host(7), host(0)]), 5);
  assert.equal(exitStatusOf([host(124, 143), host(124, 137)]), 124);
  assert.equal(exitStatusOf([host(0), host(4, null)]), 4);
  // The command's own 4 says nothing of the host.
  assert.equal(exitStatusOf([host(0), host(4)]), 5);
  assert.equal(exitStatusOf([host(75, null), host(75, null)]), 75);
});

Deno.test("rank variables: ranks in the order of the chosen hosts, addresses of the spec", () => {
  const hosts = ["a", "b", "c"].map((name, index) => ({ name, address: `10.0.0.${index + 1}` }));
  assert.deepEqual(rankEnv(hosts, ["a", "c"], "c"), {
    RANK: "1",
    NODE_RANK: "1",
    LOCAL_RANK: "0",
    WORLD_SIZE: "2",
    NNODES: "2",
    MASTER_ADDR: "10.0.0.1",
    DAVIT_HOST: "c",
    DAVIT_HOSTS: "a,c",
    DAVIT_ADDRESSES: "10.0.0.1,10.0.0.3",
  });
});
