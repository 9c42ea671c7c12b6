/**
 * Kills and refusals in the kernel log that the job did not die of.
 *
 * @module
 */
import assert from "node:assert/strict";
import { VitalsLog } from "../../../testdata/vitals_log.ts";
import { verdictOfLines } from "../verdict.ts";
import type { Confidence, VerdictClass } from "./types.ts";

interface Case {
  name: string;
  log: VitalsLog;
  sees: VerdictClass;
  confidence: Confidence;
  also?: VerdictClass[];
}

const started = () => new VitalsLog().start().samples(40);

const CASES: Case[] = [
  {
    name: "a limit above that cost another cgroup a process",
    log: started().event("oom", { scope: "ancestor", own_victim: false, pid: 7, comm: "x", oom_memcg: "/" })
      .samples(2).end({ reason: "exit", code: 1 }),
    sees: "job_failed",
    confidence: "medium",
    also: ["oom_other"],
  },
  {
    name: "a machine without memory that killed something else than the command",
    log: started().event("oom", { scope: "global", own_victim: false, pid: 7, comm: "x" })
      .samples(2).end({ reason: "exit", code: 1 }),
    sees: "job_failed",
    confidence: "medium",
    also: ["oom_other"],
  },
  {
    name: "a machine without memory, seen by its own probe",
    log: new VitalsLog().start({ mode: "alone" }).samples(40)
      .event("oom", { scope: "global", own_victim: false, pid: 7, comm: "x" }).samples(2),
    sees: "oom_guest",
    confidence: "medium",
  },
  {
    name: "a limit at which nothing could be killed, and one whose victim was going already",
    log: started().event("oom", { scope: "own", outcome: "none", oom_memcg: "/c1" })
      .event("oom", { scope: "own", outcome: "exiting", pid: 7, comm: "x", oom_memcg: "/c1" })
      .samples(2).end({ reason: "exit", code: 1 }),
    sees: "job_failed",
    confidence: "medium",
  },
  {
    name: "the probe itself, which is there to be killed first, in a namespace",
    log: started().event("oom", {
      scope: "own",
      outcome: "killed",
      pid: 1234,
      comm: "davit",
      oom_score_adj: 900,
    })
      .samples(2).end({ reason: "exit", code: 1 }),
    sees: "oom_contained",
    confidence: "high",
  },
  {
    name: "the probe itself, by the number of an earlier start line",
    log: started().start({ pid: 1300 })
      .event("oom", { scope: "own", outcome: "killed", pid: 17, comm: "deno", oom_score_adj: 900 })
      .samples(2).end({ reason: "exit", code: 1 }),
    sees: "oom_contained",
    confidence: "high",
  },
  {
    name: "the probe, and then the job",
    log: started()
      .event("oom", { scope: "own", outcome: "killed", pid: 17, comm: "davit", oom_score_adj: 900 })
      .event("oom", { scope: "own", outcome: "killed", pid: 18, comm: "python", oom_score_adj: 0 })
      .samples(1).end({ reason: "exit", code: 137, cmd_signal: "SIGKILL" }),
    sees: "oom_own",
    confidence: "high",
    also: ["oom_contained"],
  },
  {
    name: "a refusal to fork in another cgroup",
    log: started().event("kernel", {
      tag: "pids",
      cgroup: "/kubepods.slice/pod2/c1",
      text: "cgroup: fork rejected by pids controller in /kubepods.slice/pod2/c1",
    }).samples(2).end({ reason: "exit", code: 1 }),
    sees: "job_failed",
    confidence: "medium",
  },
  {
    name: "another tenant's crash before a failure of its own",
    log: started().event("kernel", { tag: "segfault", text: "x[7]: segfault at 0 ip 0 sp 0 error 4 in y" })
      .samples(2).end({ reason: "exit", code: 1 }),
    sees: "job_failed",
    confidence: "medium",
  },
];

Deno.test("verdictOf() takes no kill for the job's death that was another's or none", async (t) => {
  for (const { name, log, sees, confidence, also = [] } of CASES) {
    await t.step(name, () => {
      const verdict = verdictOfLines(log.lines);
      const seen = verdict.alsoSeen.map((one) => one.class);
      assert.deepEqual(
        [verdict.class, verdict.confidence, seen],
        [sees, confidence, also],
        verdict.summary,
      );
    });
  }
});
