/**
 * Starts many `container up` at once and looks at what became of them.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { ContainerHosts } from "./container_hosts.ts";

/** Exactly one creates; the others attach, or say that another is busy; there is one container of one generation. */
export async function raceUp(
  hosts: ContainerHosts,
  { name, count }: { name: string; count: number },
): Promise<void> {
  const spec = await hosts.spec(name);
  const args = ["up", "-f", spec, "--json", "--lock-wait", "5m"];
  const results = await Promise.all(
    Array.from({ length: count }, () => hosts.davit(args, { timeoutMs: 600_000 })),
  );
  const actions: string[] = [];
  const generations = new Set<string>();
  for (const { code, stdout, stderr } of results) {
    assert.ok(code === 0 || code === 75, `${code}: ${stderr}`);
    if (code !== 0) continue;
    const { action, generation } = JSON.parse(stdout);
    actions.push(action);
    generations.add(generation);
  }
  assert.equal(actions.filter((action) => action === "create").length, 1, actions.join(" "));
  assert.ok(actions.every((action) => ["create", "attach"].includes(action)), actions.join(" "));
  assert.equal(generations.size, 1);
  for (const host of hosts.names) {
    const { stdout } = await hosts.cli(
      host,
      "ps",
      "--all",
      "--filter",
      `name=^${name}$`,
      "--format",
      "{{.ID}}",
    );
    assert.equal(stdout.trim().split("\n").length, 1, stdout);
  }
}
