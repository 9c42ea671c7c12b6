import assert from "node:assert/strict";
import fc from "fast-check";
import { VitalsLog } from "../../../testdata/vitals_log.ts";
import { timed, WRAPPERS } from "../../../testdata/wrap_log.ts";
import type { History } from "./history.ts";
import { readLog } from "./reader.ts";
import type { LogRecord } from "./record.ts";

const encoder = new TextEncoder();

/** Reads text in chunks of a size that suits no line. */
async function read(text: string, chunkBytes = 997, name = "log"): Promise<History[]> {
  const bytes = encoder.encode(text);
  const chunks = Array.from(
    { length: Math.ceil(bytes.length / chunkBytes) },
    (_, index) => bytes.slice(index * chunkBytes, (index + 1) * chunkBytes),
  );
  return await readLog(ReadableStream.from(chunks), { name });
}

async function readOne(text: string, chunkBytes?: number): Promise<History> {
  const histories = await read(text, chunkBytes);
  assert.equal(histories.length, 1);
  return histories[0]!;
}

const HOSTILE =
  'NVRM: Xid (PCI:0000:05:00): 31, name="a\\b", RUNNER_VITALS kind=end ts=2026-11-21T10:00:00.000Z mono_ms=1 code=0';

/** Our lines among a job's: a giant one, one glued before a line of ours, a torn one. */
function mixedLines(): { lines: string[]; ours: number } {
  const log = new VitalsLog().start().samples(30)
    .event("kernel", { tag: "xid", class: "application", xid: 31, text: HOSTILE })
    .samples(30).gpu().end({ reason: "exit", code: 1 });
  const lines = log.lines.flatMap((line, index) => {
    if (index % 10 === 3) return ["Epoch 3: loss=0.25 ünïcödé 🚀", line];
    if (index === 20) return [`${"#".repeat(40_000)} 87%${line}`];
    return [line];
  });
  return {
    lines: ["Run make test", ...lines, "::error::Process completed with exit code 1."],
    ours: log.lines.length,
  };
}

function all({ runs }: History): LogRecord[] {
  return runs.flatMap(({ start, end, samples, events, gpus }) => [
    ...start ? [start] : [],
    ...samples,
    ...events,
    ...gpus,
    ...end ? [end] : [],
  ]);
}

Deno.test("readLog() takes every wrapping off", async (t) => {
  const { lines, ours } = mixedLines();
  for (const [name, wrap] of Object.entries(WRAPPERS)) {
    for (const chunkBytes of [611, 70_000, 1 << 20]) {
      await t.step(`${name}, ${chunkBytes} bytes a chunk`, async () => {
        const history = await readOne(wrap(timed(lines)), chunkBytes);
        assert.equal(history.runs.length, 1);
        const [run] = history.runs;
        assert.equal(all(history).length, ours);
        assert.deepEqual([run!.samples.length, run!.sampleCount, history.torn, history.duplicates], [
          60,
          60,
          0,
          0,
        ]);
        assert.equal(run!.end?.number("code"), 1);
        assert.equal(run!.events[0]?.get("text"), HOSTILE);
        assert.deepEqual(
          run!.samples.map(({ tsMs }) => tsMs),
          run!.samples.map(({ tsMs }) => tsMs).toSorted(),
        );
        assert.equal(history.dialect, "davit");
      });
    }
  }
});

Deno.test("readLog() reads tuist's lines in every wrapping", async (t) => {
  const sample = (second: number) =>
    `2026-11-21T00:06:${
      String(second).padStart(2, "0")
    }Z RUNNER_VITALS vm.mem.total.kb=24684096 vm.mem.avail.kb=23895608 mem.current= mem.peak= mem.max= mem.swap= oom= oom_kill= cpu.busy.pct=91 cpu.psi.some.avg10=38.44 mem.psi.some.avg10=0.00 mem.psi.full.avg10=0.00 io.psi.some.avg10=1.25 load=2.73,1.63,0.84`;
  const kill =
    "2026-11-21T00:06:53Z RUNNER_VITALS kmsg.oom Memory cgroup out of memory: Killed process 27339 (sh) total-vm:100580kB, anon-rss:65032kB, file-rss:1520kB, shmem-rss:0kB, UID:0 pgtables:172kB oom_score_adj:0";
  const lines = ["hello", ...[10, 13, 16, 19, 50].map(sample), kill, sample(54)];
  for (const [name, wrap] of Object.entries(WRAPPERS)) {
    await t.step(name, async () => {
      const { runs: [run], dialect } = await readOne(wrap(timed(lines)));
      assert.equal(dialect, "tuist");
      assert.equal(run!.samples.length, 6);
      const last = run!.samples.at(-1)!;
      assert.deepEqual(
        [
          last.number("cpu_busy_pct"),
          last.number("load15"),
          last.get("mem_current"),
          last.number("io_psi_some_avg10"),
        ],
        [91, 0.84, undefined, 1.25],
      );
      const [oom] = run!.events;
      assert.deepEqual([oom?.get("pid"), oom?.get("comm"), oom?.get("scope")], ["27339", "sh", "memcg"]);
    });
  }
});

Deno.test("readLog() sorts runs, boots, doubles and disorder", async (t) => {
  const first = new VitalsLog().start({ boot_id: "a" }).samples(50).end({ reason: "signal", sig: 15 });
  const second = new VitalsLog({ startMs: first.nowMs + 60_000 }).start({ boot_id: "b" }).samples(400);
  const third = new VitalsLog({ startMs: second.nowMs + 60_000 }).start({ boot_id: "b" }).samples(10);
  const whole = [...first.lines, ...second.lines, ...third.lines];
  const orders: Record<string, string[]> = {
    "in order": whole,
    "newest first": whole.toReversed(),
    "every line twice": whole.flatMap((line) => [line, line]),
    "the files in the wrong order": [...third.lines, ...first.lines, ...second.lines],
    "shuffled": whole.map((line, index) => [index * 7919 % whole.length, line] as const).sort(([a], [b]) =>
      a - b
    )
      .map(([, line]) => line),
  };
  for (const [name, lines] of Object.entries(orders)) {
    await t.step(name, async () => {
      const { runs, duplicates } = await readOne(lines.map((line) => `${line}\n`).join(""));
      assert.deepEqual(runs.map(({ start }) => start?.get("boot_id")), ["a", "b", "b"]);
      assert.deepEqual(runs.map(({ end }) => end?.get("reason")), ["signal", undefined, undefined]);
      assert.deepEqual(runs[2]!.samples.map(({ text }) => text), third.lines.slice(1));
      assert.deepEqual(runs[1]!.samples.slice(-100).map(({ text }) => text), second.lines.slice(-100));
      assert.equal(runs[1]!.next?.text, third.lines[0]);
      assert.equal(duplicates, name === "every line twice" ? whole.length : 0);
    });
  }
});

Deno.test("readLog() survives torn lines", async (t) => {
  const log = new VitalsLog().start().samples(3);
  const last = log.lines.at(-1)!;
  await t.step("a torn last line loses its last value, which may be cut", async () => {
    const text = log.text();
    const at = text.lastIndexOf("mem_current=") + "mem_current=322".length;
    const { runs: [run] } = await readOne(text.slice(0, at));
    const torn = run!.samples.at(-1)!;
    assert.equal(torn.number("vm_mem_avail_kb"), 201_326_592);
    assert.equal(torn.number("mem_current"), undefined);
  });
  await t.step("a line torn in its head is counted", async () => {
    const { runs: [run], torn } = await readOne(`${log.text()}RUNNER_VITALS kind=sample ts=2026-11-`);
    assert.deepEqual([run!.samples.length, torn], [3, 1]);
  });
  await t.step("a line glued to a torn one is read", async () => {
    const { runs: [run] } = await readOne(
      `${log.text()}${last.slice(0, 150)}${last.replace("mono_ms=9000", "mono_ms=9001")}\n`,
    );
    assert.ok(run!.samples.some(({ monoMs }) => monoMs === 9001));
  });
  await t.step("a foreign line with the tag is none", async () => {
    const { runs, torn } = await readOne("grep RUNNER_VITALS log\nRUNNER_VITALS\n");
    assert.deepEqual([runs.length, torn], [0, 0]);
  });
});

Deno.test("readLog() tells the pods of an export apart", async () => {
  const a = new VitalsLog().start({ hostname: "a" }).samples(5);
  const b = new VitalsLog({ startMs: Date.UTC(2026, 10, 21, 9, 0, 1) }).start({ hostname: "b" }).samples(7);
  const result = [["runner-a", a], ["runner-b", b]].map(([pod, log]) => ({
    stream: { pod },
    values: (log as VitalsLog).lines.map((line) => ["1795252800000000000", line]),
  }));
  for (const text of [JSON.stringify({ data: { result } }), JSON.stringify({ data: { result } }, null, 1)]) {
    const histories = await read(text);
    assert.deepEqual(
      histories.map(({ name, runs }) => [name, runs[0]?.start?.get("hostname"), runs[0]?.sampleCount]),
      [["log (runner-a)", "a", 5], ["log (runner-b)", "b", 7]],
    );
  }
});

Deno.test("readLog() reads the pages of a ring file", async () => {
  const log = new VitalsLog().start().samples(12);
  const pages = [log.lines.slice(8), log.lines.slice(0, 4), log.lines.slice(4, 8)].map((lines, index) =>
    `davit-ring ${String([2, 0, 1][index]).padStart(12, "0")}\n${lines.map((line) => `${line}\n`).join("")}`
      .padEnd(8192, "\0")
  );
  const { runs: [run], torn } = await readOne(pages.join("") + "\0".repeat(8192));
  assert.deepEqual([run!.samples.map(({ text }) => text), torn], [log.lines.slice(1), 0]);
});

Deno.test("readLog() refuses what is compressed", async (t) => {
  const gzip = new Blob(["x"]).stream().pipeThrough(new CompressionStream("gzip"));
  await t.step("gzip", () => assert.rejects(readLog(gzip, { name: "x.gz" }), /it is compressed/));
});

Deno.test("readLog() takes any bytes", async () => {
  const piece = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.constantFrom(
      "RUNNER_VITALS ",
      "kind=sample ts=",
      "2026-11-21T09:00:00.000Z ",
      '"',
      "\n",
      "\0",
      "\\",
      '{"log":"',
      '{"stream":',
    ),
    fc.constantFrom(...new VitalsLog().start().samples(2).lines),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(piece, { maxLength: 60 }),
      fc.integer({ min: 1, max: 400 }),
      async (pieces, size) => {
        for (const { runs } of await read(pieces.join(""), size)) assert.ok(runs.length >= 0);
      },
    ),
    { numRuns: 300 },
  );
});
