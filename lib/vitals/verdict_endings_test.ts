/**
 * How runs end that nothing inside of the machine ended, and what may not be concluded.
 *
 * @module
 */
import assert from "node:assert/strict";
import { VitalsLog } from "../../testdata/vitals_log.ts";
import type { Sibling } from "./report/facts.ts";
import { readLog } from "./report/reader.ts";
import type { Confidence, VerdictClass } from "./report/types.ts";
import { type LinesOptions, verdictOf, verdictOfLines } from "./verdict.ts";

interface Case {
  name: string;
  log: VitalsLog;
  options?: LinesOptions;
  sees: VerdictClass;
  confidence: Confidence;
  also?: VerdictClass[];
}

const started = () => new VitalsLog().start().samples(40);
/** The time of the last sample of `started()`. */
const LAST_MS = started().nowMs;
const contained = () =>
  started().event("oom", { scope: "own", pid: 7, comm: "worker", oom_memcg: "/c1" }).samples(20, {
    oom_kill: 1,
    oom: 1,
  });

function sibling(name: string, offsetMs: number, more: Partial<Sibling> = {}): Sibling {
  const last = { tsMs: LAST_MS + offsetMs, text: `line of ${name}` };
  return { name, lastMs: last.tsMs, hasEnd: false, bootId: undefined, last, ...more };
}

const BOOT = "4b3e2a10-7d52-4c7e-9c55-0d6c1f9a7e31";

const CASES: Case[] = [
  { name: "code 0", log: started().end({ reason: "exit", code: 0 }), sees: "clean_end", confidence: "high" },
  {
    name: "SIGTERM to the probe",
    log: started().end({ reason: "signal", sig: 15 }),
    sees: "polite_end",
    confidence: "high",
  },
  {
    name: "SIGTERM passed on to the job",
    log: started().event("signal", { name: "SIGTERM" }).end({
      reason: "exit",
      code: 143,
      cmd_signal: "SIGTERM",
    }),
    sees: "polite_end",
    confidence: "high",
  },
  {
    name: "code 3 by itself",
    log: started().end({ reason: "exit", code: 3 }),
    sees: "job_failed",
    confidence: "medium",
  },
  {
    name: "a crash",
    log: started().event("kernel", {
      tag: "segfault",
      text: "python[2536443]: segfault at 7f79 ip 00007f sp 00007f error 4 in libnccl.so.2[7f7c+d3d]",
    }).end({ reason: "exit", code: 139, cmd_signal: "SIGSEGV" }),
    sees: "job_failed",
    confidence: "high",
  },
  {
    name: "SIGKILL from nobody knows where",
    log: started().end({ reason: "exit", code: 137, cmd_signal: "SIGKILL" }),
    sees: "external_end",
    confidence: "high",
  },
  {
    name: "healthy until silence at the job's end",
    log: started(),
    options: { endedMs: LAST_MS + 4_000, jobExit: 137 },
    sees: "external_end",
    confidence: "medium",
  },
  {
    name: "healthy, killed, nobody knows when",
    log: started(),
    options: { jobExit: 137 },
    sees: "external_end",
    confidence: "low",
  },
  { name: "a log that just stops", log: started(), sees: "external_end", confidence: "low" },
  {
    name: "siblings of the same boot silent with it",
    log: started(),
    options: { siblings: [sibling("b", 6_000, { bootId: BOOT }), sibling("c", -9_000, { bootId: BOOT })] },
    sees: "host_event",
    confidence: "high",
  },
  {
    name: "siblings of unknown hosts silent with it",
    log: started(),
    options: { siblings: [sibling("b", 6_000)], endedMs: LAST_MS + 600_000 },
    sees: "host_event",
    confidence: "medium",
  },
  {
    name: "a sibling that ended long before, and one with a goodbye",
    log: started(),
    options: { siblings: [sibling("b", -60_000), sibling("c", 0, { hasEnd: true })] },
    sees: "external_end",
    confidence: "low",
  },
  {
    name: "the job went on for long",
    log: started(),
    options: { endedMs: LAST_MS + 120_000 },
    sees: "probe_stopped",
    confidence: "medium",
  },
  { name: "a kill that was survived", log: contained(), sees: "oom_contained", confidence: "high" },
  {
    name: "a kill that was survived, and a later end from outside",
    log: contained(),
    options: { jobExit: 137, endedMs: contained().nowMs + 2_000 },
    sees: "external_end",
    confidence: "medium",
    also: ["oom_contained"],
  },
  {
    name: "a kill that was survived, and a failure later",
    log: contained().end({ reason: "exit", code: 1 }),
    sees: "oom_contained",
    confidence: "high",
  },
  {
    name: "a kill in another cgroup",
    log: started().event("oom", { scope: "other", pid: 7, comm: "x", oom_memcg: "/d" }).sample(),
    sees: "external_end",
    confidence: "low",
    also: ["oom_other"],
  },
  {
    name: "lines lost on the way",
    log: started().skip(30).wait(6_000).samples(5),
    sees: "log_lost",
    confidence: "medium",
  },
  {
    name: "lines that the probe could not write",
    log: started().sample({ lost: 12 }).samples(2),
    sees: "log_lost",
    confidence: "medium",
  },
  {
    name: "nothing fits, something stands out",
    log: started().samples(3, { vm_mem_avail_kb: 30_000_000 }),
    sees: "inconclusive",
    confidence: "low",
  },
  {
    name: "quiet, as the watched process has ended",
    log: started().event("quiet"),
    options: { endedMs: LAST_MS + 600_000 },
    sees: "inconclusive",
    confidence: "low",
  },
  {
    name: "quiet after a job that exited with 0",
    log: started().event("quiet"),
    options: { jobExit: 0 },
    sees: "clean_end",
    confidence: "high",
  },
  {
    name: "quiet between two jobs",
    log: started().event("quiet").wait(600_000).event("awake").samples(4),
    sees: "external_end",
    confidence: "low",
  },
  {
    name: "a host's probe that saw the job's end, and went on",
    log: started().samples(60),
    options: { endedMs: LAST_MS + 30_000, siblings: [sibling("b", 180_000)] },
    sees: "external_end",
    confidence: "medium",
  },
  {
    name: "a job that exited with 0, seen by a host's probe that went on",
    log: started().samples(60),
    options: { endedMs: LAST_MS + 30_000, jobExit: 0 },
    sees: "clean_end",
    confidence: "high",
  },
  {
    name: "a kill by the kernel at the job's end, seen by a host's probe that went on",
    log: started().event("oom", { scope: "own", pid: 7, comm: "x", oom_memcg: "/c1" }).samples(60),
    options: { endedMs: LAST_MS + 2_000 },
    sees: "oom_own",
    confidence: "high",
  },
  {
    name: "two samples only",
    log: new VitalsLog().start().samples(2),
    sees: "inconclusive",
    confidence: "low",
  },
];

Deno.test("verdictOf() tells endings apart", async (t) => {
  for (const { name, log, options, sees, confidence, also = [] } of CASES) {
    await t.step(name, () => {
      const verdict = verdictOfLines(log.lines, options);
      assert.deepEqual(
        {
          class: verdict.class,
          confidence: verdict.confidence,
          also: verdict.alsoSeen.map((one) => one.class),
        },
        { class: sees, confidence, also },
        verdict.summary,
      );
    });
  }
});

Deno.test("what was before the probe's start drives no verdict", () => {
  const log = new VitalsLog().start()
    .event("oom", { scope: "own", pid: 7, comm: "x", oom_memcg: "/c1", old: true })
    .event("kernel", { tag: "xid", class: "fatal", xid: 79, text: "NVRM: Xid", old: true })
    .samples(20, { oom: 3, oom_kill: 3 });
  const verdict = verdictOfLines(log.lines);
  assert.deepEqual([verdict.class, verdict.alsoSeen], ["external_end", []]);
});

Deno.test("a reboot after a run without an end is told", async (t) => {
  const otherBoot = { boot_id: "ffffffff-7d52-4c7e-9c55-0d6c1f9a7e31" };
  const cases: [string, VitalsLog, VerdictClass][] = [
    ["another boot", started().wait(200_000).start(otherBoot).samples(5), "kernel_fault"],
    ["the same boot", started().wait(200_000).start().samples(5), "inconclusive"],
    [
      "another boot after a goodbye",
      started().end({ reason: "signal", sig: 15 }).start(otherBoot),
      "polite_end",
    ],
  ];
  for (const [name, log, sees] of cases) {
    await t.step(name, async () => {
      const [history] = await readLog(new Blob([log.text()]).stream(), { name: "log" });
      assert.equal(history!.runs.length, 2);
      assert.equal(verdictOf(history!, {}, history!.runs[0]).class, sees);
    });
  }
});

Deno.test("absence is never a denial", async (t) => {
  const cases: [string, VitalsLog, RegExp][] = [
    [
      "kmsg denied, no counter",
      new VitalsLog().start({ kmsg: "denied" }).samples(5, { oom_kill: undefined }),
      /neither OOM kills nor Xid/,
    ],
    ["kmsg absent, a counter", new VitalsLog().start({ kmsg: "absent" }).samples(5), /counter only/],
    ["no start line", new VitalsLog().samples(5), /start line is not in the log/],
    [
      "no pressure",
      new VitalsLog().start({ psi: "off" }).samples(5, {
        mem_psi_full_usec: undefined,
        mem_psi_full_avg10: undefined,
      }),
      /no pressure values \(psi=off\)/,
    ],
    ["no sample", new VitalsLog().start(), /everything/],
    ["no GPU lines", new VitalsLog().start({ gpus: 8 }).samples(5), /the GPUs' state/],
    ["kernel lines lost", new VitalsLog().start().event("kmsg_lost", { count: 9 }).samples(5), /overwritten/],
  ];
  for (const [name, log, says] of cases) {
    await t.step(name, () => {
      assert.match(verdictOfLines(log.lines).notObservable.join("\n"), says);
    });
  }
  await t.step("everything observable says nothing of the kind", () => {
    const log = new VitalsLog().start().samples(5).gpu().end({ reason: "exit", code: 0 });
    assert.deepEqual(verdictOfLines(log.lines).notObservable, [
      "what became of other jobs on the node (give their logs too)",
    ]);
  });
});

Deno.test("the end line that is about to be written counts", () => {
  const verdict = verdictOfLines(started().lines, { end: { reason: "signal", sig: 15 } });
  assert.equal(verdict.class, "polite_end");
});
