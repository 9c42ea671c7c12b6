import assert from "node:assert/strict";
import { type HookEnd, hookVerdict, type ServerWord } from "./wrap_verdict.ts";
import { matchRule } from "./wrap_rules.ts";

const END: HookEnd = {
  command: "run_script_step",
  code: 1,
  signals: [],
  matches: [],
  idBefore: "earlier",
  server: { kind: "none" },
};
const status = (exitCode: number | null, id = "this"): ServerWord => ({
  kind: "status",
  id,
  exitCode,
  result: null,
});
const said = (line: string) => [matchRule(`::error::Error: ${line}`)!];

Deno.test("hookVerdict() says whose fault it was only where something tells", async (t) => {
  for (
    const [name, end, fault, title] of [
      ["nothing known", {}, "unknown", "Hook failed: exit code 1"],
      ["cancelled", { signals: ["SIGINT"], code: 130, server: status(3) }, "unknown", "Step cancelled"],
      ["the server has the same code", { code: 3, server: status(3) }, "script", "Step failed: exit code 3"],
      ["the server has another code", { code: 1, server: status(3) }, "unknown", "Hook failed: exit code 1"],
      [
        "the server's job is an earlier one",
        { code: 3, server: status(3, "earlier") },
        "unknown",
        "Hook failed: exit code 3",
      ],
      [
        "the server was not heard before",
        { code: 3, server: status(3), idBefore: undefined },
        "unknown",
        "Hook failed: exit code 3",
      ],
      [
        "first step ever",
        { code: 3, server: status(3), idBefore: null },
        "script",
        "Step failed: exit code 3",
      ],
      [
        "a signal, as process.exit() has it",
        { code: 247, server: status(-9) },
        "unknown",
        "Step ended by signal 9",
      ],
      [
        "the step still runs",
        { code: 1, server: status(null), matches: said("RPC heartbeat failed for 60s") },
        "infra",
        "Hook server not reachable",
      ],
      [
        "a step that says it was infrastructure",
        { code: 3, server: status(3), matches: said("RPC heartbeat failed") },
        "script",
        "Step failed: exit code 3",
      ],
      [
        "no server any more",
        { server: { kind: "unreachable", server: "h:1", why: "no" } },
        "infra",
        "Hook server not reachable",
      ],
      ["pod lost", { matches: said("Pod was evicted: disk") }, "infra", "Pod evicted"],
      [
        "docker's own hook",
        { matches: said("The process '/usr/bin/docker' failed with exit code 3") },
        "script",
        "Script failed",
      ],
      [
        "preparation failed",
        { command: "prepare_job", server: status(1) },
        "unknown",
        "Hook failed: exit code 1",
      ],
    ] as [string, Partial<HookEnd>, string, string][]
  ) {
    await t.step(name, () => {
      const verdict = hookVerdict({ ...END, ...end });
      assert.deepEqual([verdict.fault, verdict.title], [fault, title]);
    });
  }
});

Deno.test("hookVerdict() takes the result of davit's own server over everything else", () => {
  const result = {
    schema: 1,
    id: "this",
    code: 137,
    signal: "SIGKILL",
    cause: "oom",
    fault: "script",
    evidence: ["oom_kill went from 0 to 1 in /x"],
    max_rss_kb: 2_097_152,
  } as unknown as Extract<ServerWord, { kind: "status" }>["result"];
  const { fault, title, message } = hookVerdict({
    ...END,
    code: 247,
    server: { ...status(-9), result } as ServerWord,
  });
  assert.deepEqual([fault, title], ["script", "Step out of memory"]);
  assert.match(message, /largest process had 2048 MiB\..*oom_kill went from 0 to 1 in \/x\.$/);
});

Deno.test("matchRule() hears only the hook's own voice", () => {
  for (
    const line of [
      "Pod was evicted",
      "echo ::error::Pod was evicted",
      "  ::error::Pod was evicted",
      "::warning::Pod was evicted",
    ]
  ) assert.equal(matchRule(line), undefined);
  for (
    const line of [
      "::error::Pod was evicted",
      "##[error]Error: Pod was evicted",
      "::error file=x::Pod was evicted",
    ]
  ) {
    assert.equal(matchRule(line)?.title, "Pod evicted");
  }
  assert.equal(matchRule("##[error]The process '/usr/bin/docker' failed with exit code 125"), undefined);
  const kube =
    "::error::Error: command terminated with non-zero exit code: error executing command [sh -e /x], exit code";
  assert.equal(matchRule(`${kube} 3`)?.fault, "script");
  assert.equal(matchRule(`${kube} 137`), undefined);
});
