import assert from "node:assert/strict";
import { Emitter, type StdoutFormat } from "./emitter.ts";
import type { Sample } from "./keys.ts";
import { type LineKind, parseLine } from "./line.ts";

/** An emitter, and what it wrote to the outputs. */
function emitterOf(format: StdoutFormat = "logfmt") {
  const lines: { kind: LineKind; line: string; shown: string | null; isOld: boolean }[] = [];
  const outputs = {
    write(
      kind: LineKind,
      line: string,
      { shown = line, isOld = false }: { shown?: string | null; isOld?: boolean } = {},
    ) {
      lines.push({ kind, line, shown, isOld });
    },
  };
  return { emitter: new Emitter({ tag: "T", format, startMs: performance.now() }), outputs, lines };
}

const SAMPLE: Sample = new Map([["mem_current", 5], ["load1", 1], ["load5", 2], ["load15", 3]]);

Deno.test("Emitter begins with the start line, then what came before it, and numbers without a gap", () => {
  const { emitter, outputs, lines } = emitterOf();
  emitter.event("source_lost", { source: "ring" });
  emitter.sample(new Map(SAMPLE), 0, 0);
  assert.equal(lines.length, 0);
  emitter.start(outputs, { seq: 0, version: "1" });
  emitter.sample(new Map(SAMPLE), 1_000, performance.now());
  emitter.gpu({ gpu: 0 });
  emitter.end({ reason: "stopped" });
  const parsed = lines.map(({ line }) => parseLine(line.trimEnd())!);
  assert.deepEqual(parsed.map(({ kind }) => kind), ["start", "event", "sample", "gpu", "end"]);
  assert.deepEqual(parsed.map(({ fields }) => fields.get("seq")), ["0", "1", "2", "3", "4"]);
  assert.ok(parsed[1]!.monoMs <= parsed[0]!.monoMs, "an event keeps its own time");
  assert.equal(emitter.samples, 1);
});

Deno.test("Emitter keeps a bounded number of newest lines for a verdict", () => {
  const { emitter, outputs } = emitterOf();
  for (let count = 0; count < 1_000; count++) emitter.event("early");
  emitter.start(outputs, {});
  for (let count = 0; count < 1_000; count++) {
    emitter.sample(new Map(SAMPLE), 0, 0);
    emitter.event("late", { count });
  }
  const lines = emitter.linesWithEnd({ reason: "exit", code: 1 });
  assert.equal(lines.length, 1 + 200 + 64 + 1);
  assert.match(lines[0]!, /kind=start/);
  assert.ok(lines.some((line) => line.includes("count=999")));
  assert.match(lines.at(-1)!, /kind=end .*reason=exit code=1\n$/);
});

Deno.test("Emitter says nothing at all while it is quiet", () => {
  const { emitter, outputs, lines } = emitterOf();
  emitter.isQuiet = true;
  emitter.event("clock_step");
  emitter.sample(new Map(SAMPLE), 0, 0);
  emitter.end({});
  assert.equal(lines.length, 0);
  emitter.isQuiet = false;
  emitter.start(outputs, {});
  emitter.isQuiet = true;
  emitter.event("clock_step");
  emitter.sample(new Map(SAMPLE), 0, 0);
  emitter.gpu({});
  emitter.end({});
  assert.deepEqual(lines.map(({ kind }) => kind), ["start", "event"]);
});

Deno.test("Emitter shows the peer's lines on stdout and ours everywhere else", () => {
  const { emitter, outputs, lines } = emitterOf("tuist");
  emitter.start(outputs, { version: "1" });
  const kill = { pid: 7, comm: "sh", total_vm_kb: 9, anon_rss_kb: 8, file_rss_kb: 0, shmem_rss_kb: 0 };
  emitter.event("oom", { ...kill, oom_memcg: "/a", old: true });
  emitter.event("oom", { ...kill, oom_memcg: "/a" });
  emitter.event("oom", kill);
  emitter.sample(new Map(SAMPLE), 1_000, 0);
  assert.deepEqual(lines.map(({ isOld }) => isOld), [false, true, false, false, false]);
  assert.ok(lines.every(({ line }) => parseLine(line.trimEnd()) !== undefined));
  const shown = lines.map((it) => it.shown);
  assert.deepEqual(shown.slice(0, 2), [null, null]);
  assert.match(
    shown[2]!,
    /^\S+Z T kmsg\.oom Memory cgroup out of memory: Killed process 7 \(sh\) total-vm:9kB, anon-rss:8kB, file-rss:0kB, shmem-rss:0kB\n$/,
  );
  assert.match(shown[3]!, /kmsg\.oom Out of memory: Killed process 7/);
  assert.match(
    shown[4]!,
    /^1970-01-01T00:00:01Z T vm\.mem\.total\.kb= .*mem\.current=5 .*load=1\.00,2\.00,3\.00\n$/,
  );
});
