/**
 * Verdicts on real logs of runs that no limit ended: well, by themselves, on request, or from outside.
 *
 * @module
 */
import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { classesOf, lastMsOf, reportOn, startWatched } from "../../testdata/real_death.ts";
import { davit as runDavit, type LiveProcess } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";

/** Runs to its end with the log's verdict. */
async function ended(davit: LiveProcess): Promise<{ classes: string[]; summary: string; stdout: string }> {
  const { stdout } = await davit.done;
  const log = await reportOn(stdout);
  return { classes: classesOf(log), summary: log.summary, stdout };
}

const JOBS = [
  { name: "that exits with 0", script: "sleep 1", sees: "clean_end" },
  { name: "that exits with 3", script: "sleep 1; exit 3", sees: "job_failed" },
  { name: "that kills itself", script: "sleep 1; kill -9 $$", sees: "external_end" },
  { name: "that ends by SIGTERM", script: "sleep 1; kill -TERM $$", sees: "polite_end" },
] as const;

for (const { name, script, sees } of JOBS) {
  Deno.test(`a job ${name}: ${sees}`, async () => {
    const { classes, summary } = await whileHealthy(async () => {
      await using davit = startWatched(["--", "sh", "-c", script]);
      return await ended(davit);
    });
    assert.deepEqual(classes, [sees], summary);
  });
}

Deno.test({
  name: "a job that crashes: job_failed, and the kernel's line is the evidence",
  ...needs({ root: true, programs: ["perl"], kernel: [showsCrashes()] }),
  async fn() {
    const crash = `ulimit -c 0; sleep 1; exec perl -e 'unpack "p", pack "L!", 1'`;
    await using davit = startWatched(["--", "sh", "-c", crash]);
    const { stdout } = await davit.done;
    const log = await reportOn(stdout);
    assert.deepEqual([classesOf(log), log.confidence], [["job_failed"], "high"], log.summary);
    assert.match(log.summary, /139 after it crashed/);
  },
});

Deno.test("SIGTERM to the probe, and to a command through it: polite_end", async (t) => {
  for (const command of [[], ["--", "sleep", "60"]]) {
    await t.step(command.join(" ") || "alone", async () => {
      await using davit = startWatched(command);
      await davit.waitFor(/kind=sample/);
      davit.kill("SIGTERM");
      const { classes, summary } = await ended(davit);
      assert.deepEqual(classes, ["polite_end"], summary);
    });
  }
});

Deno.test("a probe that is killed: what it was depends on when the job ended", async (t) => {
  const text = await logUntilKilled();
  const at = (ms: number) => new Date(lastMsOf(text) + ms).toISOString();
  const cases = [
    { name: "nothing is known", args: [], sees: "external_end", confidence: "low" },
    {
      name: "the job ended at that moment",
      args: ["--ended", at(300), "--job-exit", "137"],
      sees: "external_end",
      confidence: "medium",
    },
    { name: "the job went on", args: ["--ended", at(60_000)], sees: "probe_stopped", confidence: "medium" },
  ];
  for (const { name, args, sees, confidence } of cases) {
    await t.step(name, async () => {
      const log = await reportOn(text, args);
      assert.deepEqual([classesOf(log), log.confidence], [[sees], confidence], log.summary);
    });
  }
});

Deno.test({
  name: "a container that is killed whole: external_end, for its last samples are healthy",
  ...needs({ root: true }),
  async fn() {
    const { classes, summary } = await whileHealthy(async () => {
      await using davit = startWatched(["--", "sleep", "60"], {
        unshare: ["--pid", "--fork", "--kill-child", "--mount-proc"],
      });
      await davit.waitFor(/ mono_ms=[1-9]\d{3} /, 30_000);
      davit.kill("SIGKILL");
      const { stdout } = await davit.done;
      assert.doesNotMatch(stdout, /kind=end/);
      const log = await reportOn(stdout, [
        "--job-exit",
        "137",
        "--ended",
        new Date(lastMsOf(stdout) + 300).toISOString(),
      ]);
      return { classes: classesOf(log), summary: log.summary };
    });
    assert.deepEqual(classes, ["external_end"], summary);
  },
});

Deno.test("two logs of one node that end in the same moment: host_event", async () => {
  await using dir = await tempDir("node");
  const probes = [startWatched([]), startWatched([])];
  try {
    for (const probe of probes) await probe.waitFor(/ mono_ms=[1-9]\d{3} /, 30_000);
  } finally {
    for (const probe of probes) probe.kill("SIGKILL");
  }
  const texts = await Promise.all(probes.map(async (probe) => (await probe.done).stdout));
  for (const [index, text] of texts.entries()) await Deno.writeTextFile(dir.join(`${index}`), text);
  const report = async (...names: string[]) => {
    const paths = names.map((name) => dir.join(name));
    const { stdout } = await runDavit(["vitals", "report", "--json", ...paths]);
    return JSON.parse(stdout).logs.map((log: { class: string; confidence: string }) => [
      log.class,
      log.confidence,
    ]);
  };
  assert.deepEqual(await report("0", "1"), [["host_event", "high"], ["host_event", "high"]]);
  // One that said goodbye was not cut off.
  await Deno.writeTextFile(dir.join("1"), texts[1]! + endLineAfter(texts[1]!));
  assert.notEqual((await report("0", "1"))[0][0], "host_event");
});

/** The line that SIGTERM would have brought. */
function endLineAfter(text: string): string {
  const ts = new Date(lastMsOf(text)).toISOString();
  return `RUNNER_VITALS kind=end ts=${ts} mono_ms=99999 seq=9999 reason=signal sig=15\n`;
}

/** The log of a probe that SIGKILL ends after a healthy second. */
async function logUntilKilled(): Promise<string> {
  const { stdout } = await whileHealthy(async () => {
    await using davit = startWatched([]);
    await davit.waitFor(/ mono_ms=[1-9]\d{3} /, 30_000);
    davit.kill("SIGKILL");
    return await ended(davit);
  });
  return stdout;
}

/** Tries again where the machine was too busy with other tests to pass for healthy, which is what is asked here. */
async function whileHealthy<T extends { classes: string[] }>(attempt: () => Promise<T>): Promise<T> {
  for (let round = 0; round < 5; round++) {
    const result = await attempt();
    if (!["inconclusive", "cpu_starvation", "io_stall"].includes(result.classes[0]!)) return result;
  }
  return await attempt();
}

function showsCrashes() {
  return {
    name: "debug.exception-trace",
    works: () => {
      try {
        return Deno.readTextFileSync("/proc/sys/debug/exception-trace").trim() === "1";
      } catch {
        return false; // not this architecture
      }
    },
  };
}
