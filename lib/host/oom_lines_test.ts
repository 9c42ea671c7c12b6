import assert from "node:assert/strict";
import fc from "fast-check";
import { classifyKernelLine } from "./kernel_lines.ts";
import { type OomLine, parseOomLine } from "./oom_lines.ts";

/** The classes of testdata/kmsg/lines.tsv, in our words. */
const EXPECTED: Record<string, string> = {
  oom_summary_old: "chosen",
  oom_kill: "kill",
  oom_reaper: "reaped",
  oom_summary: "summary",
  oom_invoked: "invoked",
  oom_group: "group",
  oom_none: "no_victim",
  amdgpu_timeout: "amdgpu timeout",
  amdgpu_reset: "amdgpu reset",
  fs_ro: "fs readonly",
  xid: "xid",
  sxid: "sxid nonfatal",
  gpu_off_bus: "gpu_off_bus fatal",
  hung_task: "hung_task blocked",
  soft_lockup: "soft_lockup soft",
  segfault: "segfault segfault",
  nvme: "nvme",
  io_error: "io_error buffer",
  none: "nothing",
};

Deno.test("every line of testdata/kmsg/lines.tsv is taken for what it is", async (t) => {
  const table = await Deno.readTextFile(new URL("../../testdata/kmsg/lines.tsv", import.meta.url));
  const rows = table.trimEnd().split("\n").slice(1).map((line) => line.split("\t"));
  assert.ok(rows.length >= 30);
  for (const [kernel, name = "", , text = ""] of rows) {
    await t.step(`${kernel} ${text.slice(0, 80)}`, () => {
      const line = classifyKernelLine(text);
      const got = parseOomLine(text)?.kind ?? (line ? `${line.tag} ${line.class}` : "nothing");
      assert.ok(got === EXPECTED[name] || got.startsWith(`${EXPECTED[name]} `), `${name}: got ${got}`);
    });
  }
});

Deno.test("parseOomLine() reads the shapes of all kernels", async (t) => {
  const victim = {
    pid: 7,
    comm: "java",
    uid: undefined,
    totalVmKb: 100,
    anonRssKb: 50,
    fileRssKb: 4,
    shmemRssKb: undefined,
    pgtablesKb: undefined,
    oomScoreAdj: undefined,
  };
  const rows: [text: string, expected: OomLine | undefined][] = [
    ["Killed process 7 (java) total-vm:100kB, anon-rss:50kB, file-rss:4kB", {
      kind: "kill",
      origin: undefined,
      victim,
    }],
    ["Killed process 7 (java), UID 1000, total-vm:100kB, anon-rss:50kB, file-rss:4kB, shmem-rss:1kB", {
      kind: "kill",
      origin: undefined,
      victim: { ...victim, uid: 1000, shmemRssKb: 1 },
    }],
    [
      "Out of memory (oom_kill_allocating_task): Killed process 7 (java) total-vm:100kB, anon-rss:50kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:180kB oom_score_adj:-999",
      {
        kind: "kill",
        origin: "machine",
        victim: { ...victim, uid: 0, shmemRssKb: 0, pgtablesKb: 180, oomScoreAdj: -999 },
      },
    ],
    // 5.4.0: bytes that call themselves kB.
    [
      "Memory cgroup out of memory: Killed process 7 (java) total-vm:100kB, anon-rss:50kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:184320kB oom_score_adj:0",
      {
        kind: "kill",
        origin: "memcg",
        victim: { ...victim, uid: 0, shmemRssKb: 0, pgtablesKb: 180, oomScoreAdj: 0 },
      },
    ],
    ["Task in /docker/a killed as a result of limit of /docker", {
      kind: "task_in",
      taskMemcg: "/docker/a",
      oomMemcg: "/docker",
    }],
    ["Memory cgroup out of memory: OOM victim 7 (a b) is already exiting. Skip killing the task", {
      kind: "exiting",
      origin: "memcg",
      pid: 7,
      comm: "a b",
    }],
    ["oom_reaper: unable to reap pid:7 (java)", { kind: "unreapable", pid: 7 }],
    ["memory: usage 65536kB, limit 65536kB, failcnt 127", { kind: "usage", usageKb: 65536, limitKb: 65536 }],
    ["memory: usage 65536kB, limit 9007199254740988kB, failcnt 0", {
      kind: "usage",
      usageKb: 65536,
      limitKb: undefined,
    }],
    [
      "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,2-3,cpuset=a,b,mems_allowed=0,2-3,global_oom,task_memcg=/x,task=y,pid=7,uid=1",
      {
        kind: "summary",
        summary: {
          constraint: "CONSTRAINT_CPUSET",
          oomMemcg: undefined,
          taskMemcg: "/x",
          comm: "y",
          pid: 7,
          uid: 1,
        },
      },
    ],
    [",oom_memcg=/a,task_memcg=/a", { kind: "summary_part", text: ",oom_memcg=/a,task_memcg=/a" }],
    ["audit: Killed process 7 (java) total-vm:100kB, anon-rss:50kB, file-rss:4kB", undefined],
    ["myapp: Out of memory: Killed process", undefined],
    ["Out of memory: heap", undefined],
  ];
  for (const [text, expected] of rows) {
    await t.step(text.slice(0, 90), () => assert.deepEqual(parseOomLine(text), expected));
  }
});

Deno.test("parseOomLine() is not misled by the name of a process", () => {
  const name = fc.string({ unit: fc.constantFrom(...",=()kB:1 pid uid total-vm".split("")), maxLength: 15 });
  fc.assert(fc.property(name, fc.integer({ min: 1, max: 4_194_304 }), (comm, pid) => {
    const kill = parseOomLine(
      `Killed process ${pid} (${comm}) total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB`,
    );
    assert.ok(kill?.kind === "kill");
    assert.deepEqual([kill.victim.pid, kill.victim.comm], [pid, comm]);
    const summary = parseOomLine(
      `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=${comm},pid=${pid},uid=0`,
    );
    assert.ok(summary?.kind === "summary");
    assert.deepEqual([summary.summary.pid, summary.summary.comm], [pid, comm]);
  }));
  for (const comm of ["x,pid=1,uid=2", ") total-vm:1kB", "(sd-pam)", "a) (b"]) {
    const summary = parseOomLine(
      `oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=${comm},pid=9,uid=3`,
    );
    assert.ok(summary?.kind === "summary");
    assert.deepEqual([summary.summary.comm, summary.summary.pid], [comm, 9]);
  }
});

Deno.test("no line takes the patterns long", () => {
  // The longest text a record can have, of what patterns look for.
  for (
    const piece of [
      "a[1]: segfault at ",
      "Killed process 1 (",
      "(",
      ",task=",
      ",oom_memcg=",
      ": ",
      "x invoked ",
    ]
  ) {
    const text = piece.repeat(8_192 / piece.length);
    const startedMs = performance.now();
    parseOomLine(text);
    parseOomLine(`oom-kill:constraint=CONSTRAINT_NONE,nodemask=${text}`);
    classifyKernelLine(text);
    classifyKernelLine(`INFO: task ${text}`);
    classifyKernelLine(`NVRM: Xid (PCI:0000:05:00): ${text}`);
    assert.ok(performance.now() - startedMs < 2_000, piece);
  }
});
