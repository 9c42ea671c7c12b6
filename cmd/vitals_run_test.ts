import assert from "node:assert/strict";
import { readRing } from "../lib/vitals/ring_file.ts";
import { davit, davitArgv, davitEnv, run, start, startDavit } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { field, linesOf, pick, samples } from "../testdata/vitals_lines.ts";

const RUN = ["vitals", "run"];

Deno.test("vitals run: start, samples and an end line after SIGTERM; it was told to stop, so it exits 0", async () => {
  await using dir = await tempDir("vitals-run");
  await using probe = startDavit([...RUN, "--interval=200ms", `--ring=${dir.join("ring")}`, "--tag=MINE"], {
    env: { RUNNER_NAME: "r-1", GITHUB_RUN_ID: "42" },
  });
  await probe.waitFor(samples(3));
  probe.kill("SIGTERM");
  const { code, stdout, stderr } = await probe.done;
  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
  const lines = linesOf(stdout, "MINE");
  assert.ok(stdout.split("\n").slice(0, -1).every((line) => line.length < 4_096));
  assert.equal(lines[0]!.kind, "start");
  assert.deepEqual(["runner", "run_id", "interval_ms", "mode"].map((key) => field(lines[0], key)), [
    "r-1",
    "42",
    "200",
    "alone",
  ]);
  const end = lines.at(-1);
  assert.equal(end?.kind, "end");
  assert.equal(field(end, "sig"), "15");
  assert.equal(field(end, "samples"), String(pick(lines, "sample").length));
  assert.deepEqual(lines.map((line) => Number(field(line, "seq"))), lines.map((_, index) => index));
  assert.deepEqual(await Array.fromAsync(readRing(dir.join("ring"))), stdout.trimEnd().split("\n"));
});

Deno.test("vitals run: no interval makes it spin or stop", async (t) => {
  // Every row of the table of lib/vitals/interval_test.ts that a shell can pass, in groups: a start takes its time.
  const rows: [text: string | undefined, effectiveMs: number, isSaid: boolean][] = [
    [undefined, 3_000, false],
    ["", 3_000, false],
    ...["0", "-1", "-0", "abc", "1e3", "9223372036854775807", "9223372036854775808", "12345678901234567890"]
      .map((text): [string, number, boolean] => [text, 3_000, true]),
    ...["0x10", "NaN", "nan", "inf", "infinity", "+5", "1,5", "5m", "3;id", "٣"]
      .map((text): [string, number, boolean] => [text, 3_000, true]),
    ["1.5", 1_500, false],
    [" 5 ", 5_000, false],
    ["5\n", 5_000, false],
    ["5 ", 5_000, false],
    ["999999999999", 60_000, true],
    ["5s", 5_000, false],
    ["250ms", 250, false],
    ["0.05", 200, true],
    ["010", 10_000, false],
    ["08", 8_000, false],
  ];
  for (let at = 0; at < rows.length; at += 7) {
    await t.step(`rows ${at} to ${at + 6}`, async () => {
      await Promise.all(
        rows.slice(at, at + 7).map(async ([text, effectiveMs, isSaid], index) => {
          const variable = index % 2 === 0 ? "DAVIT_VITALS_INTERVAL" : "TUIST_RUNNER_VITALS_INTERVAL";
          await using probe = startDavit(RUN, { env: { [variable]: text } });
          // A short interval shows by its samples, a long one by how few they are after a while.
          await probe.waitFor(samples(effectiveMs <= 250 ? 4 : 1), 30_000);
          await new Promise((resolve) => setTimeout(resolve, 2_000));
          probe.kill("SIGTERM");
          const { stdout } = await probe.done;
          const lines = linesOf(stdout);
          assert.equal(Number(field(lines[0], "interval_ms")), effectiveMs, JSON.stringify(text));
          const [config] = pick(lines, "event", "config");
          assert.equal(config !== undefined, isSaid, JSON.stringify(text));
          if (isSaid) assert.equal(field(config, "raw"), text);
          // The first, the final one, and one more where an early one shifted the rest; by the probe's own clock.
          const taken = pick(lines, "sample");
          const count = taken.length;
          const most = Math.floor((taken.at(-1)!.monoMs - taken[0]!.monoMs) / effectiveMs) + 3;
          assert.ok(
            count >= 2 && count <= most,
            `${JSON.stringify(text)}: ${count} samples, at most ${most}`,
          );
        }),
      );
    });
  }
});

Deno.test("vitals run: a stdout that is gone, full or closed is said elsewhere, and it goes on", async (t) => {
  const rows: [what: string, redirection: string, errno: string | undefined][] = [
    ["gone", "> >(exec true)", "EPIPE"],
    ["full", "> /dev/full", "ENOSPC"],
    ["closed", ">&-", undefined],
  ];
  for (const [what, redirection, errno] of rows) {
    await t.step(what, async () => {
      await using dir = await tempDir("vitals-stdout");
      const script = `"$@" ${redirection} & pid=$!
        until [ "$(grep -ac kind=sample ${
        dir.join("ring")
      } 2>/dev/null)" -ge 4 ] 2>/dev/null; do sleep 0.1; done
        kill -TERM $pid; wait $pid; echo code $?`;
      const argv = davitArgv([...RUN, "--interval=200ms", `--ring=${dir.join("ring")}`]);
      const { stdout, stderr } = await run(["bash", "-c", script, "bash", ...argv], { env: davitEnv() });
      assert.equal(stdout, "code 0\n", stderr);
      const lines = linesOf((await Array.fromAsync(readRing(dir.join("ring")))).join("\n"));
      assert.equal(lines.at(-1)!.kind, "end");
      const lost = pick(lines, "event", "source_lost");
      assert.equal(lost.length, errno === undefined ? 0 : 1);
      if (errno === undefined) return;
      assert.equal(field(lost[0], "source"), "stdout");
      assert.equal(field(lost[0], "errno"), errno);
      assert.equal(stderr.match(/cannot write to stdout/g)?.length, 1, stderr);
    });
  }
});

Deno.test("vitals run: a reader that stalls stops neither the samples nor the end, and gets all when it reads on", async (t) => {
  for (const readsOn of [true, false]) {
    await t.step(readsOn ? "reads on" : "never reads on", async () => {
      await using dir = await tempDir("vitals-stall");
      const [fifo, ringPath] = [dir.join("fifo"), dir.join("ring")];
      await run(["mkfifo", fifo]);
      // Both ends, so that nobody waits for another end; 16 pages fill it.
      using reader = await Deno.open(fifo, { read: true, write: true });
      for (let page = 0; page < 16; page++) await reader.write(new Uint8Array(4_096).fill(0x2e));
      const argv = davitArgv([...RUN, "--interval=200ms", `--ring=${ringPath}`]);
      await using probe = start(["sh", "-c", `exec "$@" > ${fifo}`, "sh", ...argv], { env: davitEnv() });
      const kept = async () => linesOf((await Array.fromAsync(readRing(ringPath))).join("\n"));
      const deadline = Date.now() + 20_000;
      while (pick(await kept().catch(() => []), "sample").length < 8) {
        assert.ok(Date.now() < deadline, "no samples behind the stalled reader");
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      let text = "";
      async function readAll(): Promise<void> {
        const bytes = new Uint8Array(65_536);
        while (!/kind=end [^\n]*\n$/.test(text)) {
          text += new TextDecoder().decode(bytes.subarray(0, await reader.read(bytes) ?? 0));
        }
      }
      const all = readsOn ? readAll() : undefined;
      probe.kill("SIGTERM");
      assert.equal((await probe.done).code, 0);
      assert.equal((await kept()).at(-1)!.kind, "end");
      if (all === undefined) return;
      await all;
      const lines = linesOf(text.replace(/^\.+/, ""));
      assert.deepEqual(lines.map((line) => Number(field(line, "seq"))), lines.map((_, index) => index));
      assert.equal(field(lines.at(-1), "lost"), "0");
    });
  }
});

Deno.test("vitals run: a file that is shared as stdout keeps everybody's lines", async () => {
  await using dir = await tempDir("vitals-file");
  const script = `{ "$@" & pid=$!; i=0
    until [ "$(grep -c kind=sample $OUT)" -ge 4 ]; do i=$((i + 1)); echo "other $i"; sleep 0.04; done
    kill $pid; wait; } > $OUT; echo $i`;
  const argv = davitArgv([...RUN, "--interval=200ms"]);
  const out = dir.join("log");
  const { stdout } = await run(["bash", "-c", script, "bash", ...argv], { env: davitEnv({ OUT: out }) });
  const text = await Deno.readTextFile(out);
  assert.equal(text.match(/^other \d+$/gm)?.length, Number(stdout));
  const lines = linesOf(text);
  assert.deepEqual(lines.map((line) => Number(field(line, "seq"))), lines.map((_, index) => index));
  assert.equal(lines.at(-1)!.kind, "end");
});

Deno.test("vitals run: SIGSTOP and SIGCONT give a late sample and say how long nothing was heard", async () => {
  await using probe = startDavit([...RUN, "--interval=200ms"]);
  await probe.waitFor(samples(2));
  probe.kill("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  probe.kill("SIGCONT");
  await probe.waitFor(/event=resume/);
  probe.kill("SIGTERM");
  const lines = linesOf((await probe.done).stdout);
  const [resume] = pick(lines, "event", "resume");
  assert.ok(Number(field(resume, "gap_ms")) >= 2_000);
  const late = lines[lines.indexOf(resume!) + 1];
  assert.ok(Number(field(late, "late_ms")) >= 2_000);
  assert.equal(lines.at(-1)!.kind, "end");
});

Deno.test("vitals run: no line is torn in the ring after kill -9, and the next probe goes on behind it", async () => {
  await using dir = await tempDir("vitals-kill");
  const ring = dir.join("ring");
  for (let round = 1; round <= 2; round++) {
    await using probe = startDavit([...RUN, "--interval=200ms", `--ring=${ring}`, "--ring-size=64KiB"]);
    await probe.waitFor(samples(3));
    probe.kill("SIGKILL");
    const { signal } = await probe.done;
    assert.equal(signal, "SIGKILL");
    const lines = linesOf((await Array.fromAsync(readRing(ring))).join("\n"));
    assert.equal(pick(lines, "start").length, round);
    assert.ok(pick(lines, "sample").length >= 2 * round);
    assert.equal(pick(lines, "end").length, 0);
  }
});

Deno.test("vitals run --while-process: nothing at all while none runs", async () => {
  await using dir = await tempDir("vitals-while");
  const name = `dv${crypto.randomUUID().slice(0, 8)}`;
  await Deno.copyFile("/bin/sleep", dir.join(name));
  await using probe = startDavit([
    ...RUN,
    "--interval=200ms",
    `--while-process=${name}`,
    `--ring=${dir.join("ring")}`,
    `--termination-log=${dir.join("last")}`,
  ]);
  // The ring is made before the first look for the process; ten looks must say nothing.
  const made = async () => await Deno.stat(dir.join("ring")).then(() => true, () => false);
  while (!await made()) await new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  assert.equal(probe.stdout(), "");
  await using job = start([dir.join(name), "60"]);
  await probe.waitFor(samples(3), 30_000);
  job.kill("SIGTERM");
  await probe.waitFor(/event=quiet/, 30_000);
  const spoken = probe.stdout();
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  probe.kill("SIGTERM");
  const { stdout, stderr } = await probe.done;
  assert.equal(stdout, spoken, "quiet again, also at the end");
  assert.equal(stderr, "");
  const lines = linesOf(stdout);
  assert.equal(lines[0]!.kind, "start");
  assert.equal(pick(lines, "event", "awake").length, 1);
  assert.equal(lines.at(-1)!.fields.get("event"), "quiet");
  await using idle = startDavit([...RUN, "--interval=200ms", "--while-process=no-such-process-anywhere"]);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  idle.kill("SIGTERM");
  const { stdout: nothing, stderr: neither } = await idle.done;
  assert.equal(nothing + neither, "");
});

Deno.test("vitals run: the last words, the textfile and --format tuist", async () => {
  await using dir = await tempDir("vitals-sinks");
  await using probe = startDavit([
    ...[...RUN, "--interval=200ms", "--format=tuist", `--termination-log=${dir.join("last")}`],
    ...[`--textfile=${dir.join("v.prom")}`, "--otlp=http://127.0.0.1:9/"],
  ]);
  await probe.waitFor(/vm\.mem\.total\.kb=\d+ [^]*\n[^]*vm\.mem\.total\.kb=/);
  probe.kill("SIGTERM");
  const { stdout, stderr } = await probe.done;
  assert.ok(
    stdout.trimEnd().split("\n").every((line) =>
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ RUNNER_VITALS vm\.mem\.total\.kb=\d+ .* load=[\d.,]+$/.test(line)
    ),
    stdout,
  );
  const last = await Deno.readTextFile(dir.join("last"));
  assert.deepEqual(linesOf(last).map(({ kind }) => kind).filter((kind) => kind !== "event"), [
    "start",
    "sample",
    "end",
  ]);
  assert.match(await Deno.readTextFile(dir.join("v.prom")), /^davit_vitals_running 0$/m);
  assert.match(stderr, /cannot deliver to the OTLP receiver/);
});

Deno.test("vitals run: what cannot be used is refused before anything is started", async (t) => {
  const rows: [args: string[], code: number, says: RegExp][] = [
    [["--tag", "two words"], 64, /--tag: expected a letter/],
    [["--otlp", "http://u:hunter2@h"], 64, /--otlp: expected a URL without a login/],
    [["--format", "xml"], 64, /one of logfmt, tuist/],
    [["--cgroup", "/no/such/cgroup"], 66, /no\/such\/cgroup/],
    [["--nonsense"], 64, /unknown option/],
  ];
  for (const [args, code, says] of rows) {
    await t.step(args.join(" "), async () => {
      const result = await davit([...RUN, ...args]);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, says);
      assert.doesNotMatch(result.stderr, /hunter2/);
      assert.equal(result.stdout, "");
    });
  }
});

Deno.test("vitals run: its own log follows --json and --log-level, with a command too", async (t) => {
  await using dir = await tempDir("vitals-log");
  const stderrOf = async (...args: string[]) => {
    const { code, stderr } = await davit([...RUN, `--ring=${dir.path}`, ...args, "--", "sleep", "0.3"]);
    assert.equal(code, 0, stderr);
    return stderr;
  };
  const says = /^Cannot use ".*" as a ring: Is a directory/;
  await t.step("--json", async () => {
    const { level, msg } = JSON.parse((await stderrOf("--json")).split("\n")[0]!);
    assert.equal(level, "warn");
    assert.match(msg, says);
  });
  await t.step("--log-level=error", async () => assert.equal(await stderrOf("--log-level=error"), ""));
  await t.step("neither", async () => assert.match(await stderrOf(), /^ts=\S+ level=warn msg="Cannot use/));
});
