import assert from "node:assert/strict";
import { verdictOfLines } from "./verdict.ts";

const START_MS = Date.UTC(2026, 10, 21, 0, 6, 50);
const KILLED =
  "Memory cgroup out of memory: Killed process 27339 (sh) total-vm:100580kB, anon-rss:65032kB, file-rss:1520kB, shmem-rss:0kB, UID:0 pgtables:172kB oom_score_adj:0";
const SUMMARY =
  "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/user.slice,task=a.out,pid=13135,uid=0";

function stamp(second: number): string {
  return new Date(START_MS + second * 1000).toISOString().replace(".000Z", "Z");
}

/** A sample as the peer prints it; on cgroup v1 its six fields of memory are empty. */
function sample(
  second: number,
  { memory = "mem.current= mem.peak= mem.max= mem.swap= oom= oom_kill=", full = "0.00" } = {},
): string {
  return `${
    stamp(second)
  } RUNNER_VITALS vm.mem.total.kb=24684096 vm.mem.avail.kb=23895608 ${memory} cpu.busy.pct=21 cpu.psi.some.avg10=3.44 mem.psi.some.avg10=${full} mem.psi.full.avg10=${full} io.psi.some.avg10=1.25 load=2.73,1.63,0.84`;
}

function kernel(second: number, text: string): string {
  return `${stamp(second)} RUNNER_VITALS kmsg.oom ${text}`;
}

const samples = (from: number, to: number, options = {}) =>
  Array.from({ length: Math.ceil((to - from) / 3) }, (_, index) => sample(from + 3 * index, options));
const counters = (oom: number, kills: number) =>
  `mem.current=68000000000 mem.peak=68719476736 mem.max=68719476736 mem.swap=0 oom=${oom} oom_kill=${kills}`;

Deno.test("verdictOf() judges tuist's lines", async (t) => {
  const cases: [name: string, lines: string[], sees: string, confidence: string][] = [
    ["a kill, on cgroup v1", [...samples(0, 60), kernel(60, KILLED)], "oom_own", "low"],
    [
      "a kill, and the cgroup's own counters",
      [
        ...samples(0, 60, { memory: counters(0, 0) }),
        kernel(60, KILLED),
        sample(61, { memory: counters(1, 1) }),
      ],
      "oom_own",
      "high",
    ],
    [
      "counters only",
      [...samples(0, 60, { memory: counters(0, 0) }), sample(61, { memory: counters(1, 1) })],
      "oom_own",
      "medium",
    ],
    ["the whole guest", [...samples(0, 60), kernel(60, SUMMARY)], "oom_guest", "high"],
    [
      "old kernel lines that its watcher replays",
      [sample(0), kernel(1, KILLED), ...samples(3, 60)],
      "external_end",
      "low",
    ],
    [
      "a stall by the average only",
      [
        ...samples(0, 60),
        ...samples(60, 90, {
          full: "55.00",
          memory: "mem.current=68000000000 mem.peak= mem.max=68719476736 mem.swap= oom=0 oom_kill=0",
        }),
      ],
      "memory_starvation",
      "medium",
    ],
    ["healthy", samples(0, 60), "external_end", "low"],
  ];
  for (const [name, lines, sees, confidence] of cases) {
    await t.step(name, () => {
      const verdict = verdictOfLines(lines);
      assert.deepEqual([verdict.class, verdict.confidence], [sees, confidence], verdict.summary);
    });
  }
});

Deno.test("a kill and its summary are one", () => {
  const pair = [
    kernel(60, SUMMARY),
    kernel(60, "Out of memory: Killed process 13135 (a.out) total-vm:1kB, anon-rss:1kB, file-rss:0kB"),
  ];
  const verdict = verdictOfLines([...samples(0, 60), ...pair]);
  assert.deepEqual([verdict.class, verdict.evidence.length], ["oom_guest", 2]);
  assert.match(verdict.summary, /killed a\.out \(pid 13135\)$/);
});

Deno.test("no kernel line of tuist's is no proof of no kill", () => {
  assert.match(verdictOfLines(samples(0, 60)).notObservable.join("\n"), /no proof of no OOM kill/);
});
