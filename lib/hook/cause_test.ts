import assert from "node:assert/strict";
import type { OomEvent } from "../host/oom.ts";
import { type EndFacts, verdictOf } from "./cause.ts";
import type { OomFindings } from "./oom_watch.ts";

const KILL = { code: 137, signal: "SIGKILL" };
const NO_OOM: OomFindings = { kills: 0, isOwnLimit: false, events: [] };
const EVENT = {
  outcome: "killed",
  origin: "memcg",
  pid: 7,
  comm: "tail\u001b",
  oomMemcg: "/box",
  usageKb: 100,
  limitKb: 100,
} as OomEvent;

const facts = (some: Partial<EndFacts>): EndFacts => ({
  end: { code: 0, signal: null },
  ending: undefined,
  oom: undefined,
  isStuck: false,
  ...some,
});
const requested = (...names: string[]) => ({
  reason: "killed_by_request" as const,
  signals: names.map((name) => ({ name, beforeEndMs: 1_500 })),
});

Deno.test("verdictOf() says why a job ended and whose doing it was", async (t) => {
  for (
    const [name, some, cause, fault, evidence] of [
      ["success", {}, "exit", "none", /^$/],
      ["a script's own code", { end: { code: 3, signal: null }, oom: NO_OOM }, "exit", "script", /^$/],
      [
        "a child of it was killed",
        { end: { code: 2, signal: null }, oom: { ...NO_OOM, kills: 2 } },
        "exit",
        "script",
        /ended 2 processes of the step's cgroup meanwhile/,
      ],
      ["its own fault", { end: { code: 139, signal: "SIGSEGV" }, oom: NO_OOM }, "signal", "script", /^$/],
      [
        "killed by somebody",
        { end: KILL, oom: NO_OOM },
        "signal",
        "unknown",
        /came neither from the hook server/,
      ],
      [
        "counted alone, nobody's limit",
        { end: KILL, oom: { ...NO_OOM, kills: 1 } },
        "oom",
        "unknown",
        /ended 1 process of/,
      ],
      ["its own limit", { end: KILL, oom: { ...NO_OOM, kills: 1, isOwnLimit: true } }, "oom", "script", /./],
      [
        "in the kernel's log",
        { end: KILL, oom: { kills: 1, isOwnLimit: true, events: [EVENT] } },
        "oom",
        "script",
        /ended process 7 \(tail\\u001b\): cgroup \/box was at its limit \(100 of 100 KiB\)$/,
      ],
      [
        "the machine was out of memory",
        { end: KILL, oom: { kills: 1, isOwnLimit: false, events: [{ ...EVENT, origin: "machine" }] } },
        "oom",
        "infra",
        /the machine had no memory left/,
      ],
      [
        "a shell tells of its killed child",
        { end: { code: 137, signal: null }, oom: { ...NO_OOM, kills: 1, isOwnLimit: true } },
        "oom",
        "script",
        /./,
      ],
      [
        "asked for",
        { end: { code: 130, signal: "SIGINT" }, ending: requested("SIGINT") },
        "killed_by_request",
        "unknown",
        /it was asked to be ended SIGINT was sent 1\.5 s before its end/,
      ],
      [
        "our own SIGKILL is no OOM kill",
        { end: KILL, ending: requested("SIGTERM", "SIGKILL"), oom: { ...NO_OOM, kills: 1 } },
        "killed_by_request",
        "unknown",
        /SIGKILL was sent/,
      ],
      [
        "no client",
        { end: KILL, ending: { reason: "lease_lost", signals: [], leaseMs: 600_000 } },
        "lease_lost",
        "infra",
        /no client was heard for 600 s/,
      ],
      [
        "the server was stopped",
        { end: KILL, ending: { reason: "server_stopped", signals: [] } },
        "server_stopped",
        "infra",
        /told to stop/,
      ],
      [
        "it cannot be killed",
        { end: KILL, ending: requested("SIGKILL"), isStuck: true },
        "killed_by_request",
        "infra",
        /does not let it go/,
      ],
    ] as [string, Partial<EndFacts>, string, string, RegExp][]
  ) {
    await t.step(name, () => {
      const verdict = verdictOf(facts(some));
      assert.deepEqual([verdict.cause, verdict.fault], [cause, fault]);
      assert.match(verdict.evidence.join(" "), evidence);
    });
  }
});
