import assert from "node:assert/strict";
import { davit } from "../../../testdata/run.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { VitalsLog } from "../../../testdata/vitals_log.ts";
import { MIN_RING_BYTES, RingFile } from "../ring_file.ts";
import { readLogFile } from "./report.ts";

const healthy = () => new VitalsLog().start().samples(40);
const killed = () =>
  healthy().event("oom", { scope: "own", pid: 3695, comm: "py\u001b[31mthon", oom_memcg: "/c1" });

Deno.test("vitals report prints a verdict for people, with controls escaped", async () => {
  await using dir = await tempDir("report");
  await Deno.writeTextFile(dir.join("a.log"), killed().text());
  const { code, stdout, stderr } = await davit(["vitals", "report", dir.join("a.log")]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /a\.log: out of memory: own cgroup \(oom_own\), confidence high\n/);
  assert.match(stdout, /killed py\\u001b\[31mthon \(pid 3695\)\n/);
  for (const title of ["evidence", "not observable", "check next"]) {
    assert.match(stdout, new RegExp(`^ {2}${title}:$`, "m"));
  }
  assert.match(
    stdout,
    /^ {2}log: 2026-11-21T09:00:00\.000Z to 2026-11-21T09:02:00\.000Z, 2 m, 40 samples, 1 events$/m,
  );
  assert.ok(!stdout.includes("\u001b"));
});

Deno.test("vitals report prints an object for programs", async () => {
  const { code, stdout } = await davit(["vitals", "report", "-", "--json", "--job-exit", "137"], {
    stdin: killed().text(),
  });
  assert.equal(code, 0);
  const { logs: [log] } = JSON.parse(stdout);
  assert.deepEqual(
    [log.log, log.class, log.confidence, log.dialect, log.samples, log.start.hostname, log.earlier_runs],
    ["stdin", "oom_own", "high", "davit", 40, "runner-gpu-x7", []],
  );
  assert.match(log.evidence[0].line, /^RUNNER_VITALS kind=event .*event=oom/);
  assert.equal(log.evidence[0].ts, "2026-11-21T09:02:00.000Z");
});

Deno.test("vitals report ends with 1 only for what --fail-on names", async (t) => {
  const contained = killed().samples(20).text();
  const cases: [args: string[], stdin: string, code: number][] = [
    [["--fail-on", "gpu_fault"], killed().text(), 0],
    [["--fail-on", "gpu_fault,oom_own"], killed().text(), 1],
    [["--fail-on", "gpu_fault", "--fail-on", "oom_own"], killed().text(), 1],
    [["--fail-on", "oom"], killed().text(), 1],
    [["--fail-on", "oom"], contained, 0],
    [
      ["--fail-on", "oom_contained", "--job-exit", "0"],
      `${contained}${healthy().end({ reason: "exit", code: 0 }).lines.at(-1)}\n`,
      1,
    ],
    [["--fail-on", "any"], healthy().end({ reason: "exit", code: 0 }).text(), 0],
    [["--fail-on", "any"], healthy().text(), 1],
    [[], "", 0],
  ];
  for (const [args, stdin, expected] of cases) {
    await t.step(`${args.join(" ")} -> ${expected}`, async () => {
      const { code, stdout, stderr } = await davit(["vitals", "report", "-", ...args], { stdin });
      assert.equal(code, expected, stderr);
      assert.match(stdout, /^stdin: /);
      if (expected === 1) assert.match(stderr, /^davit: Found what --fail-on asks for: \w+\n$/);
    });
  }
});

Deno.test("vitals report refuses what it cannot read", async (t) => {
  await using dir = await tempDir("report");
  await Deno.writeFile(dir.join("x.gz"), new Uint8Array([0x1f, 0x8b, 8, 0]));
  const cases: [args: string[], code: number, says: RegExp][] = [
    [[dir.join("none")], 66, /Cannot read log ".*none": there is no such file/],
    [[dir.path], 74, /Cannot read log/],
    [[dir.join("x.gz")], 65, /it is compressed, expected text\nhint: zcat FILE/],
    [["-", "--fail-on", "oomm"], 64, /Cannot use --fail-on "oomm": expected one of clean_end, /],
    [["-", "--job-exit", "256"], 64, /expected a number from 0 to 255/],
    [["-", "--ended", "yesterday"], 64, /expected a time such as/],
    [["-", "--html", dir.join("none/x.html")], 73, /Cannot write ".*none\/x\.html": [^:]*\(os error 2\)\n$/],
    [["-", "--html", dir.path], 73, /Cannot write ".*": Is a directory/],
    [["-", "--html", ""], 64, /Cannot use --html "": expected a file/],
    [["-", "--tag", ""], 64, /Cannot use --tag: expected a letter/],
    [[], 64, /missing required argument/],
  ];
  for (const [args, code, says] of cases) {
    await t.step(args.join(" "), async () => {
      const ended = await davit(["vitals", "report", ...args], { stdin: healthy().text() });
      assert.equal(ended.code, code, ended.stderr);
      assert.match(ended.stderr, says);
    });
  }
});

Deno.test("vitals report writes its page through a link, and puts no file in the link's place", async () => {
  await using dir = await tempDir("report");
  await Deno.writeTextFile(dir.join("page.html"), "old");
  await Deno.symlink("page.html", dir.join("link"));
  const { code, stderr } = await davit(["vitals", "report", "-", "--html", dir.join("link")], {
    stdin: killed().text(),
  });
  assert.equal(code, 0, stderr);
  assert.ok((await Deno.lstat(dir.join("link"))).isSymlink);
  assert.match(await Deno.readTextFile(dir.join("page.html")), /^<!doctype html>[^]*<\/html>\n$/);
});

Deno.test("readLogFile() reads a ring in the order in which it was written, wherever it went round", async () => {
  await using dir = await tempDir("report");
  for (const pagesBefore of [0, 1, 2, 3]) {
    const path = dir.join(`${pagesBefore}.ring`);
    {
      using ring = await RingFile.open(path, { sizeBytes: MIN_RING_BYTES });
      for (let page = 0; page < pagesBefore; page++) await ring.write(`${"x".repeat(4_000)}\n`);
      const log = new VitalsLog();
      // All of one moment: nothing but their place tells which came first.
      for (let count = 0; count < 25; count++) log.event("awake", { count, text: "x".repeat(300) });
      for (const line of log.lines) await ring.write(`${line}\n`);
    }
    const [history] = await readLogFile(path, { stdin: Deno.stdin });
    const counts = history!.runs[0]!.events.map((event) => event.number("count"));
    assert.deepEqual(counts, Array.from({ length: 25 }, (_, count) => count), `${pagesBefore} pages before`);
  }
});

Deno.test("vitals report takes several logs for those of one node", async () => {
  await using dir = await tempDir("report");
  const logs = [0, 2_000, 9_000].map((offset) =>
    new VitalsLog({ startMs: Date.UTC(2026, 10, 21, 9) + offset }).start().samples(40).text()
  );
  const paths = logs.map((_, index) => dir.join(`${index}.log`));
  for (const [index, text] of logs.entries()) await Deno.writeTextFile(paths[index]!, text);
  const { stdout } = await davit(["vitals", "report", ...paths, "--json"]);
  const classes = JSON.parse(stdout).logs.map((
    log: { class: string; confidence: string },
  ) => [log.class, log.confidence]);
  assert.deepEqual(classes, Array(3).fill(["host_event", "high"]));
  const alone = await davit(["vitals", "report", paths[0]!, "--json"]);
  assert.equal(JSON.parse(alone.stdout).logs[0].class, "external_end");
});

Deno.test("vitals report judges the run that was on at --ended, and tells of those before", async () => {
  const first = killed();
  const second = new VitalsLog({ startMs: first.nowMs + 60_000 }).start().samples(30);
  const stdin = first.text() + second.text();
  const last = await davit(["vitals", "report", "-", "--json"], { stdin });
  const [log] = JSON.parse(last.stdout).logs;
  assert.deepEqual([log.class, log.earlier_runs[0].class], ["external_end", "oom_own"]);
  const earlier = await davit(["vitals", "report", "-", "--json", "--ended", "2026-11-21T09:02:01Z"], {
    stdin,
  });
  assert.deepEqual(JSON.parse(earlier.stdout).logs[0].class, "oom_own");
});

Deno.test("a job's other lines tell that it outlived the probe", async () => {
  const written = (text: string, timeMs: number) => `${new Date(timeMs).toISOString()} stdout F ${text}\n`;
  const log = healthy();
  const stdin = log.lines.map((line) => written(line, Date.parse(/ts=(\S+)/.exec(line)![1]!))).join("") +
    written("still training", log.nowMs + 90_000);
  const { stdout } = await davit(["vitals", "report", "-"], { stdin });
  assert.match(
    stdout,
    /probe stopped, job went on \(probe_stopped\), confidence high\n.* 90 s before the log's last line/,
  );
});
