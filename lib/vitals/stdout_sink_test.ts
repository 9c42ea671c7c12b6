import assert from "node:assert/strict";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import type { QueueState } from "./line_queue.ts";
import { markLost, openStream } from "./stdout_sink.ts";

const FAST = { fastRetryMs: 5, slowRetryMs: 10 };

/** A directory in which `self/fd/1` is a FIFO, as /proc has it where stdout is a pipe. */
async function pipeAsStdout(path: string): Promise<string> {
  await Deno.mkdir(`${path}/self/fd`, { recursive: true });
  assert.equal((await run(["mkfifo", `${path}/self/fd/1`])).code, 0);
  return `${path}/self/fd/1`;
}

/** Reads until the text ends with `end`; fails when that takes too long, since a read of a FIFO cannot be ended. */
async function readUntil(file: Deno.FsFile, end: string): Promise<string> {
  const bytes = new Uint8Array(65_536);
  let text = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`only ${text.length} characters: ${text.slice(-200)}`)),
      30_000,
    );
  });
  while (!text.endsWith(end)) {
    const count = await Promise.race([file.read(bytes), late]);
    text += new TextDecoder().decode(bytes.subarray(0, count ?? 0));
  }
  clearTimeout(timer);
  return text;
}

Deno.test("openStream() never waits for a reader that stalls, and counts what it could not keep", async () => {
  await using dir = await tempDir("stall");
  const fifo = await pipeAsStdout(dir.path);
  // Both ends, so that neither open(2) waits and the pipe stays open.
  using reader = await Deno.open(fifo, { read: true, write: true });
  const queue = await openStream("stdout", { ...FAST, proc: dir.path, capacity: 256 });
  const line = (index: number) => `LINE n=${String(index).padStart(5, "0")} ${"x".repeat(1_000)}\n`;
  for (let index = 0; index < 1_000; index++) queue.push(line(index));
  const inPipe = 1_000 - 256 - queue.lost;
  assert.ok(inPipe > 20 && inPipe < 70, `64 KiB of lines of 1 kB, and not ${inPipe}`);
  assert.equal(await queue.drain(30), false);

  const drained = queue.drain(10_000);
  const text = await readUntil(reader, line(999));
  assert.equal(await drained, true);
  const lines = text.trimEnd().split("\n");
  assert.equal(lines.length, inPipe + 256);
  assert.ok(lines.every((it) => /^LINE n=\d{5} x{1000}( lost=\d+)?$/.test(it)), "no line is torn");
  assert.deepEqual(
    lines.flatMap((it, index) => it.includes("lost=") ? [[index, it.slice(it.indexOf("lost="))]] : []),
    [[inPipe + 1, `lost=${queue.lost}`]],
  );
  assert.equal(lines.at(-1), line(999).trimEnd());
});

Deno.test("openStream() says that the reader is gone, goes on, and writes when there is one again", async () => {
  await using dir = await tempDir("gone");
  const fifo = await pipeAsStdout(dir.path);
  const reader = await Deno.open(fifo, { read: true, write: true });
  const states: QueueState[] = [];
  const back = Promise.withResolvers<void>();
  const queue = await openStream("stdout", {
    ...FAST,
    proc: dir.path,
    onState(state) {
      states.push(state);
      if (state.kind === "back") back.resolve();
    },
  });
  reader.close();
  queue.push("one\n");
  queue.push("two\n");
  assert.deepEqual(states, [{ kind: "lost", errno: "EPIPE", lost: 0 }]);
  using again = await Deno.open(fifo, { read: true, write: true });
  await back.promise;
  assert.equal(await readUntil(again, "two\n"), "one\ntwo\n");
});

Deno.test("markLost() puts the count behind the line, unless the line would be too long for one write", () => {
  assert.equal(markLost("T kind=sample seq=1\n", 7), "T kind=sample seq=1 lost=7\n");
  const long = `T kind=event text=${"x".repeat(4_070)}\n`;
  assert.equal(markLost(long, 123_456), long);
});
