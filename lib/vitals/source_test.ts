import assert from "node:assert/strict";
import { start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { failed, FileSource, Source, type SourceChange } from "./source.ts";

const list = () => {
  const changes: SourceChange[] = [];
  return { changes, onChange: (change: SourceChange) => void changes.push(change) };
};

Deno.test("a source that was lost is said once, left alone for longer and longer, and said again when it is back", () => {
  const { changes, onChange } = list();
  const source = new Source("x", onChange);
  let isThere = true;
  const triedAt: number[] = [];
  const read = (nowMs: number) =>
    source.read(nowMs, () => {
      triedAt.push(nowMs);
      return isThere ? "text" : failed("EIO");
    });
  assert.equal(read(0), "text");
  isThere = false;
  for (let nowMs = 500; nowMs <= 200_000; nowMs += 500) assert.equal(read(nowMs), undefined);
  assert.deepEqual(changes, [{ source: "x", state: "lost", errno: "EIO" }]);
  const waits = triedAt.slice(2).map((at, index) => at - triedAt[index + 1]!);
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
  isThere = true;
  assert.equal(read(1e6), "text");
  assert.deepEqual(changes.slice(1), [{ source: "x", state: "back" }]);
  isThere = false;
  read(1e6 + 1);
  assert.equal(read(1e6 + 1001), undefined);
  assert.equal(triedAt.at(-1), 1e6 + 1001); // after a success the first wait is the short one again
  assert.equal(changes.length, 3);
});

Deno.test("what was never there is not lost; what must be there and is refused, is", () => {
  for (const errno of ["ENOENT", "ENOTDIR", "EOPNOTSUPP"]) {
    const { changes, onChange } = list();
    const source = new Source("x", onChange);
    source.read(0, () => failed(errno));
    assert.deepEqual(changes, [], errno);
  }
  const { changes, onChange } = list();
  new Source("x", onChange).read(0, () => {
    throw new Deno.errors.PermissionDenied("Permission denied (os error 13)");
  });
  assert.deepEqual(changes, [{ source: "x", state: "lost", errno: "EACCES" }]);
});

Deno.test("a source that is slow twice in a row is left alone, once is forgiven", () => {
  const { changes, onChange } = list();
  const source = new Source("x", onChange);
  const read = (nowMs: number, tookMs: number) =>
    source.read(nowMs, () => {
      for (const end = performance.now() + tookMs; performance.now() < end;);
      return "text";
    });
  read(0, 510);
  read(1, 0);
  read(2, 510);
  assert.deepEqual(changes, []);
  read(3, 510);
  assert.deepEqual(changes, [{ source: "x", state: "lost", errno: "ETIMEDOUT" }]);
  assert.equal(read(4, 0), undefined);
  assert.equal(read(1004, 0), "text");
  assert.deepEqual(changes.slice(1), [{ source: "x", state: "back" }]);
});

Deno.test("FileSource: a process that ends while its file is open", async () => {
  const { changes, onChange } = list();
  await using child = start(["sleep", "600"]);
  const path = `/proc/${child.pid}/stat`;
  using source = new FileSource(path, onChange);
  assert.match(source.text(0) ?? "", /sleep/);
  child.kill("SIGKILL");
  await child.done;
  assert.equal(source.text(1), undefined);
  assert.deepEqual(changes, [{ source: path, state: "lost", errno: "ENOENT" }]);
});

Deno.test("FileSource: a file that is missing at first is read when it comes", async () => {
  const { changes, onChange } = list();
  await using dir = await tempDir("source");
  using source = new FileSource(dir.join("late"), onChange);
  assert.equal(source.text(0), undefined);
  await Deno.writeTextFile(dir.join("late"), "now");
  assert.equal(source.text(999), undefined); // not before its time
  assert.equal(source.text(1000), "now");
  assert.deepEqual(changes, []);
});
