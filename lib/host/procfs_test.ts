import assert from "node:assert/strict";
import fc from "fast-check";
import { start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import {
  counterAt,
  counterDelta,
  KeptFile,
  keyedCounter,
  keyedNumber,
  parseCpuTicks,
  parseLoad,
} from "./procfs.ts";

Deno.test("KeptFile reads the same file again from its start", async () => {
  await using dir = await tempDir("procfs");
  const path = dir.join("value");
  await Deno.writeTextFile(path, "first\n");
  using file = new KeptFile(path);
  assert.equal(file.readHead(), "first\n");
  await Deno.writeTextFile(path, "2nd\n");
  assert.equal(file.readHead(), "2nd\n");
  assert.equal(file.readAll(), "2nd\n");
});

Deno.test("KeptFile.readAll() reads tables of many pages, readHead() the first", async () => {
  await using dir = await tempDir("procfs");
  const text = Array.from({ length: 50_000 }, (_, index) => `row ${index}\n`).join("");
  await Deno.writeTextFile(dir.join("table"), text);
  using file = new KeptFile(dir.join("table"));
  assert.equal(file.readAll(), text);
  assert.equal(file.readHead(), text.slice(0, 4096));
  using smaps = new KeptFile("/proc/self/smaps");
  assert.match(smaps.readAll() ?? "", /^VmFlags:.*\n$/m);
});

Deno.test("KeptFile refuses a table that does not end", () => {
  using file = new KeptFile("/dev/zero");
  assert.equal(file.readAll(), undefined);
  assert.match(file.failure ?? "", /EFBIG/);
});

Deno.test("KeptFile says why it failed, and works when the file is there again", async () => {
  await using dir = await tempDir("procfs");
  using file = new KeptFile(dir.join("later"));
  assert.equal(file.readHead(), undefined);
  assert.equal(file.failure, "ENOENT");
  await Deno.writeTextFile(dir.join("later"), "here");
  assert.equal(file.readHead(), "here");
  assert.equal(file.failure, undefined);
  using directory = new KeptFile(dir.path);
  assert.equal(directory.readHead(), undefined);
  assert.equal(directory.failure, "EISDIR");
});

Deno.test("KeptFile notices that the process of an open file has ended", async () => {
  await using child = start(["sleep", "600"]);
  using file = new KeptFile(`/proc/${child.pid}/status`);
  assert.match(file.readHead() ?? "", /^Name:/);
  child.kill("SIGKILL");
  await child.done;
  assert.equal(file.readHead(), undefined);
  assert.equal(file.failure, "ENOENT"); // the old descriptor said ESRCH, and then there was no such name
});

Deno.test("counters are exact beyond 2^53, and one that began anew has no delta", () => {
  fc.assert(fc.property(
    fc.bigInt({ min: 0n, max: 2n ** 63n }),
    fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
    (before, delta) => {
      const [one, other] = [counterAt(`${before} x`, 0)!, counterAt(`${before + delta}`, 0)!];
      assert.equal(BigInt(one), before);
      assert.equal(counterDelta(one, other), Number(delta));
      if (delta > 0n) assert.equal(counterDelta(other, one), undefined);
    },
  ));
  assert.equal(counterAt("none", 0), undefined);
  assert.equal(counterAt("", 0), undefined);
});

Deno.test("keyedCounter() takes the key's own line", () => {
  const text =
    "file_mapped 1\nanon 22\nfile 333\nMemTotal:       24684096 kB\nfile_dirty\nlast 9223372036854775807";
  assert.equal(keyedNumber(text, "file"), 333);
  assert.equal(keyedNumber(text, "anon"), 22);
  assert.equal(keyedNumber(text, "file_mapped"), 1);
  assert.equal(keyedNumber(text, "MemTotal"), 24684096);
  assert.equal(keyedCounter(text, "last"), 9223372036854775807n);
  for (const key of ["mapped", "file_dirty", "Total", "none"]) {
    assert.equal(keyedCounter(text, key), undefined, key);
  }
  assert.equal(keyedCounter("", "anon"), undefined);
});

Deno.test("parseCpuTicks() counts a guest's time once and steal", () => {
  // user 1000 of which 400 went to guests
  assert.deepEqual(parseCpuTicks("cpu  1000 20 300 5000 60 7 8 90 400 0\ncpu0 1 2 3 4\n"), {
    total: 6485,
    idle: 5060,
    steal: 90,
  });
  assert.deepEqual(parseCpuTicks("cpu 1 2 3 4"), { total: 10, idle: 4, steal: 0 });
  for (const text of ["", "cpu0 1 2 3 4", "cpu 1 2 x 4", "cpu 1 2", "intr 1"]) {
    assert.equal(parseCpuTicks(text), undefined, text);
  }
});

Deno.test("parseLoad() reads the averages and the number of tasks", () => {
  assert.deepEqual(parseLoad("2.73 1.63 0.84 3/512 27339\n"), {
    load1: 2.73,
    load5: 1.63,
    load15: 0.84,
    tasks: 512,
  });
  assert.equal(parseLoad("2.73 1.63"), undefined);
});

Deno.test("the live files of this machine are read", () => {
  for (const [path, found] of [["meminfo", "MemTotal"], ["vmstat", "pgmajfault"]] as const) {
    using file = new KeptFile(`/proc/${path}`);
    assert.ok(Number(keyedCounter(file.readAll() ?? "", found)) > 0, path);
  }
  using stat = new KeptFile("/proc/stat");
  assert.ok(parseCpuTicks(stat.readHead() ?? "")!.total > 0);
  using load = new KeptFile("/proc/loadavg");
  assert.ok(parseLoad(load.readHead() ?? "")!.tasks > 0);
});
