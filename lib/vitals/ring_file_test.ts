import assert from "node:assert/strict";
import { Failure } from "../failure.ts";
import { needs } from "../../testdata/needs.ts";
import { run, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { isRing, MIN_RING_BYTES, readRing, RING_PAGE_BYTES, RingFile } from "./ring_file.ts";

const WRITER = new URL("../../testdata/write_ring.ts", import.meta.url).pathname;

async function linesOf(path: string): Promise<string[]> {
  return await Array.fromAsync(readRing(path));
}

async function writeLines(path: string, from: number, to: number, options = {}): Promise<void> {
  using ring = await RingFile.open(path, options);
  for (let number = from; number < to; number++) {
    await ring.write(`line ${number} ${"x".repeat(number % 300)}\n`);
  }
}

Deno.test("RingFile keeps the newest lines in order, in a file whose size never changes", async () => {
  await using dir = await tempDir("ring");
  const path = dir.join("ring");
  const sizeBytes = 8 * RING_PAGE_BYTES;
  await writeLines(path, 0, 10, { sizeBytes });
  assert.equal((await Deno.stat(path)).size, sizeBytes);
  assert.ok((await Deno.stat(path)).blocks! * 512 >= sizeBytes, "no holes: a full disk must not stop it");
  assert.deepEqual((await linesOf(path)).map((line) => line.split(" ")[1]), [..."0123456789"]);

  await writeLines(path, 10, 2_000, { sizeBytes: 1 });
  assert.equal((await Deno.stat(path)).size, sizeBytes, "an existing ring keeps its size");
  const numbers = (await linesOf(path)).map((line) => Number(line.split(" ")[1]));
  assert.equal(numbers.at(-1), 1_999);
  assert.ok(numbers.length > 100 && numbers.every((number, index) => number === numbers[0]! + index));
});

Deno.test({
  name: "RingFile can be read with strings",
  ...needs({ programs: ["strings"] }),
  async fn() {
    await using dir = await tempDir("ring-text");
    await writeLines(dir.join("ring"), 0, 3);
    const { stdout } = await run(["strings", dir.join("ring")]);
    assert.match(stdout, /^davit-ring 0{12}\nline 0 \nline 1 x\nline 2 xx\n$/);
  },
});

Deno.test("isRing() tells a ring from other files by its head", async () => {
  await using dir = await tempDir("ring-head");
  const path = dir.join("ring");
  await writeLines(path, 0, 3);
  assert.equal(isRing((await Deno.readFile(path)).subarray(0, 24)), true);
  assert.equal(isRing(new TextEncoder().encode("davit-ring is what I am\n")), false);
  assert.equal(isRing(new Uint8Array()), false);
});

Deno.test("RingFile cuts a line that fits into no page, and gives the smallest ring to whom asks for less", async () => {
  await using dir = await tempDir("ring-long");
  const path = dir.join("ring");
  {
    using ring = await RingFile.open(path, { sizeBytes: 5 });
    await ring.write(`T kind=event text=${"é".repeat(3_000)} more=1\n`);
    await ring.write(`T kind=event ${"ab=1 ".repeat(1_000)}\n`);
    await ring.write("after\n");
  }
  assert.equal((await Deno.stat(path)).size, MIN_RING_BYTES);
  const lines = await linesOf(path);
  assert.equal(lines.length, 3);
  assert.ok(lines.every((line) => new TextEncoder().encode(line).length < RING_PAGE_BYTES));
  assert.match(lines[1]!, / ab=1$/);
  assert.equal(lines[2], "after");
});

Deno.test("RingFile refuses what is not its own", async (t) => {
  await using dir = await tempDir("ring-refuse");
  const refuses = async (path: string, says: RegExp) => {
    await assert.rejects(
      RingFile.open(path),
      (error) => error instanceof Failure && says.test(error.message),
    );
  };
  await t.step("another file, untouched", async () => {
    await Deno.writeTextFile(dir.join("diary"), "dear diary\n".repeat(1_000));
    await refuses(dir.join("diary"), /something else/);
    assert.equal(await Deno.readTextFile(dir.join("diary")), "dear diary\n".repeat(1_000));
  });
  await t.step("one that another process holds", async () => {
    await using writer = start([
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      WRITER,
      dir.join("held"),
      "65536",
    ]);
    await writer.waitFor(/ready/);
    await refuses(dir.join("held"), /another process/);
  });
  await t.step("what begins with zeros, as an image of a disk may", async () => {
    await Deno.writeTextFile(
      dir.join("image"),
      "\0".repeat(3 * RING_PAGE_BYTES) + "x".repeat(RING_PAGE_BYTES),
    );
    await refuses(dir.join("image"), /something else/);
  });
  await t.step("what holds a ring somewhere, as an image of a disk may", async () => {
    await writeLines(dir.join("inner"), 0, 3);
    const inner = await Deno.readTextFile(dir.join("inner"));
    await Deno.writeTextFile(dir.join("outer"), "x".repeat(RING_PAGE_BYTES) + inner);
    await refuses(dir.join("outer"), /something else/);
  });
  await t.step("a device", () => refuses("/dev/null", /not a regular file/));
  await t.step("a directory that is not there", () => refuses(dir.join("no/ring"), /No such file/));
});

Deno.test("RingFile has no torn line after SIGKILL at any moment, and goes on behind the last one", async () => {
  await using dir = await tempDir("ring-kill");
  const path = dir.join("ring");
  let before = 0;
  for (let round = 0; round < 8; round++) {
    await using writer = start([Deno.execPath(), "run", "-A", "--no-check", WRITER, path, "65536"]);
    await writer.waitFor(/ready/);
    await new Promise((resolve) => setTimeout(resolve, 10 + Math.random() * 40));
    writer.kill("SIGKILL");
    await writer.done;
    const lines = await linesOf(path);
    assert.ok(lines.length > before, `${lines.length} lines after round ${round}`);
    before = Math.min(lines.length, 1);
    const torn = lines.filter((line) => !/^LINE (\d{8}) (?:abcdefghij)* \1$/.test(line));
    assert.deepEqual(torn, []);
  }
});

Deno.test({
  name: "RingFile that finds no room gives back what it took",
  ...needs({ root: true, programs: ["unshare", "mount"] }),
  async fn() {
    await using dir = await tempDir("ring-full");
    const script =
      `mount -t tmpfs -o size=64k tmpfs "$1" && "$2" run -A --no-check "$3" "$1/ring" 4194304; ls -s "$1"`;
    const argv = ["unshare", "-m", "sh", "-c", script, "sh", dir.path, Deno.execPath(), WRITER];
    const { stdout, stderr } = await run(argv);
    assert.match(stderr, /No space left on device/);
    assert.match(stdout, /^0 ring$/m);
  },
});

Deno.test("readRing() reads what is left of a ring that was cut off", async () => {
  await using dir = await tempDir("ring-cut");
  await writeLines(dir.join("ring"), 0, 40);
  await Deno.truncate(dir.join("ring"), RING_PAGE_BYTES + 1_000);
  const lines = await linesOf(dir.join("ring"));
  assert.ok(lines.length > 0);
  assert.deepEqual(lines, lines.map((_, index) => `line ${index} ${"x".repeat(index % 300)}`));
});

Deno.test("readRing() passes over pages that were damaged", async () => {
  await using dir = await tempDir("ring-damage");
  const path = dir.join("ring");
  await writeLines(path, 0, 100, { sizeBytes: 16 * RING_PAGE_BYTES });
  const whole = await linesOf(path);
  using file = await Deno.open(path, { write: true });
  await file.seek(RING_PAGE_BYTES, Deno.SeekMode.Start);
  await file.write(new TextEncoder().encode("garbage!"));
  const rest = await linesOf(path);
  assert.ok(rest.length > 0 && rest.length < whole.length);
  assert.deepEqual(rest, whole.filter((line) => rest.includes(line)));
});
