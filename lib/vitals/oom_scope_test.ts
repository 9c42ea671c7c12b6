import assert from "node:assert/strict";
import type { OomEvent } from "../host/oom.ts";
import { isOwnVictim, oomScope } from "./oom_scope.ts";

const event = (fields: Partial<OomEvent>) => fields as OomEvent;
const MEMCG = { origin: "memcg", constraint: "CONSTRAINT_MEMCG" } as const;

Deno.test("oomScope() tells whose memory ran out", async (t) => {
  const rows: [
    what: string,
    fields: Partial<OomEvent>,
    own: string | undefined,
    scope: string | undefined,
  ][] = [
    ["own limit", { ...MEMCG, oomMemcg: "/pod/a" }, "/pod/a", "own"],
    ["a limit below", { ...MEMCG, oomMemcg: "/pod/a/inner" }, "/pod/a", "own"],
    ["the pod's limit", { ...MEMCG, oomMemcg: "/pod" }, "/pod/a", "ancestor"],
    ["a sibling's", { ...MEMCG, oomMemcg: "/pod/ab" }, "/pod/a", "other"],
    ["a parent that only begins alike", { ...MEMCG, oomMemcg: "/po" }, "/pod/a", "other"],
    ["any, seen from the root", { ...MEMCG, oomMemcg: "/pod" }, "/", "own"],
    ["the machine's", { origin: "machine", constraint: "CONSTRAINT_NONE" }, "/pod/a", "global"],
    ["the machine's, by the kill line alone", { origin: "machine" }, "/pod/a", "global"],
    ["nodes of a cpuset", { origin: "machine", constraint: "CONSTRAINT_CPUSET" }, "/a", "numa"],
    ["nodes of a policy", { origin: "machine", constraint: "CONSTRAINT_MEMORY_POLICY" }, undefined, "numa"],
    ["a cgroup's, from a namespace", { ...MEMCG, oomMemcg: "/pod/a" }, undefined, undefined],
    ["a cgroup's, which one is not known", { origin: "memcg" }, "/pod/a", undefined],
    ["nothing known", {}, "/pod/a", undefined],
  ];
  for (const [what, fields, own, scope] of rows) {
    await t.step(what, () => assert.equal(oomScope(event(fields), own), scope));
  }
});

Deno.test("isOwnVictim() tells whether the victim was ours", () => {
  assert.equal(isOwnVictim(event({ taskMemcg: "/pod/a/b" }), "/pod/a"), true);
  assert.equal(isOwnVictim(event({ taskMemcg: "/pod/ab" }), "/pod/a"), false);
  assert.equal(isOwnVictim(event({}), "/pod/a"), undefined);
  assert.equal(isOwnVictim(event({ taskMemcg: "/pod/a" }), undefined), undefined);
});
