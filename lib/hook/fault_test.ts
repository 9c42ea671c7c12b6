import assert from "node:assert/strict";
import { Failure } from "../failure.ts";
import { annotation, resultOfFailure, verdictOf, verdictOfFailure } from "./fault.ts";
import { JobLost } from "./lost.ts";
import type { Result } from "./protocol.ts";

const RESULT = {
  schema: 1,
  id: "j",
  code: 3,
  signal: null,
  cause: "exit",
  fault: "script",
  evidence: [],
  max_rss_kb: 0,
} as unknown as Result;

Deno.test("verdictOf() names what happened, whose fault it was and by what that is known", async (t) => {
  for (
    const [result, title, message] of [
      [
        {},
        "Step failed: exit code 3",
        "The script ended with exit code 3. This is the script's own failure.",
      ],
      [
        { cause: "signal", code: 139, signal: "SIGSEGV", fault: "unknown" },
        "Step ended by SIGSEGV",
        "The script was ended by SIGSEGV, exit code 139. Nothing here tells whose fault it is.",
      ],
      [
        {
          cause: "oom",
          code: 137,
          signal: "SIGKILL",
          evidence: ["oom_kill went from 0 to 1."],
          max_rss_kb: 524_288,
        },
        "Step out of memory",
        "The kernel ended the script, exit code 137: its cgroup's memory was used up, its largest process had 512 MiB." +
        " This is the script's own failure. oom_kill went from 0 to 1.",
      ],
      [
        { cause: "lease_lost", code: 137, fault: "infra" },
        "Step lost: no client",
        "The step was ended because its client was not heard any more. This is a failure of the infrastructure," +
        " not of the script.",
      ],
      [
        { cause: "later_cause", fault: "unknown" } as object,
        "Step failed: later_cause",
        "The step failed. Nothing here tells whose fault it is.",
      ],
    ] as [Partial<Result>, string, string][]
  ) {
    await t.step(title, () => {
      const verdict = verdictOf({ ...RESULT, ...result });
      assert.deepEqual([verdict?.title, verdict?.message], [title, message]);
    });
  }
  await t.step(
    "success is no matter",
    () => assert.equal(verdictOf({ ...RESULT, code: 0, fault: "none" }), undefined),
  );
});

Deno.test("a step without a result never reads like the script's failure", () => {
  const lost = new JobLost("unix:/s", "server_gone", ["last heard 3 s ago"]);
  assert.match(verdictOfFailure(lost).message, /not of the script\. last heard 3 s ago\.$/);
  assert.deepEqual(resultOfFailure(lost, "j"), {
    schema: 1,
    id: "j",
    code: 69,
    signal: null,
    cause: "server_gone",
    fault: "infra",
    evidence: [lost.message, "last heard 3 s ago"],
  });
  const busy = new Failure("TEMPFAIL", "Cannot start", { code: "busy" });
  assert.equal(verdictOfFailure(busy).fault, "unknown");
});

Deno.test("annotation() is one line whatever is in it", () => {
  const verdict = { fault: "infra", title: "a:b,c%\n", message: "x\r\n::error::y 100%" } as const;
  assert.equal(annotation(verdict), "::error title=a%3Ab%2Cc%25%0A::x%0D%0A::error::y 100%25");
});
