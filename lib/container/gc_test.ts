import assert from "node:assert/strict";
import type { ContainerFacts, IdentityLabels } from "./facts.ts";
import { reasonToRemove } from "./gc.ts";

const NOW = Date.parse("2026-01-02T00:00:00Z");
const LABELS: IdentityLabels = {
  owner: "ann",
  name: "box",
  generation: "g",
  spec: "s",
  specJson: "{}",
  imageDigest: "d",
  provision: "none",
  lifetime: "persistent",
  leaseMs: "none",
};
const READY = { generation: "g", provision: "none", readyAt: "", startedAt: "" };

/** A container of ours, used a day before NOW. */
function container(changes: Partial<ContainerFacts>, labels: Partial<IdentityLabels> = {}) {
  return {
    name: "box",
    id: "1",
    status: "running" as const,
    exitCode: 0,
    createdAt: "2026-01-01T00:00:00Z",
    startedAt: "",
    imageId: "i",
    execs: 0,
    labels: { ...LABELS, ...labels },
    ready: READY,
    ...changes,
  };
}

Deno.test("gc takes what nobody will ask for, and nothing else", async (t) => {
  const hour = 3_600_000;
  const { ready: _, ...unready } = container({});
  const { labels: __, ...foreign } = container({});
  const rows: [string, Parameters<typeof reasonToRemove>[0], number, string | undefined][] = [
    ["ready, no lease", container({}), hour, undefined],
    ["lease of an hour", container({}, { leaseMs: String(hour) }), 48 * hour, "lease expired"],
    [
      "used since",
      container({ lastUsedAt: "2026-01-01T23:30:00Z" }, { leaseMs: String(hour) }),
      hour,
      undefined,
    ],
    ["in use", container({ execs: 1 }, { leaseMs: "1" }), 0, undefined],
    ["never ready, old", unready, hour, "never ready"],
    ["never ready, young", unready, 48 * hour, undefined],
    ["left of a run", container({}, { lifetime: "per_run" }), hour, "left of a run"],
    ["a run of today", container({}, { lifetime: "per_run" }), 48 * hour, undefined],
    ["not ours", foreign, 0, undefined],
    ["no time that can be read", container({ createdAt: "soon" }, { leaseMs: "1" }), 0, undefined],
  ];
  for (const [name, row, olderThanMs, why] of rows) {
    await t.step(name, () => assert.equal(reasonToRemove(row, { olderThanMs, nowMs: NOW }), why));
  }
});
