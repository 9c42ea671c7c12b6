import assert from "node:assert/strict";
import fc from "fast-check";
import { Failure } from "../failure.ts";
import { OutputSink } from "./sink.ts";

/** Takes at most `most` bytes a write, as a pipe does. */
function collector(most = Infinity) {
  const decoder = new TextDecoder();
  let text = "";
  return {
    text: () => text,
    write(bytes: Uint8Array): Promise<number> {
      const taken = bytes.slice(0, most);
      text += decoder.decode(taken);
      return Promise.resolve(taken.length);
    },
  };
}

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("OutputSink passes both streams on, whatever a write takes", async () => {
  const [stdout, stderr] = [collector(3), collector(1)];
  const sink = new OutputSink({ stdout, stderr });
  await sink.write("stdout", bytes("one two"));
  await sink.write("stderr", bytes("oops\n"));
  await sink.write("stdout", bytes(" three"));
  await sink.finish();
  assert.deepEqual([stdout.text(), stderr.text()], ["one two three", "oops\n"]);
});

Deno.test("OutputSink puts notices between lines of stderr, never into one", async (t) => {
  for (
    const [name, steps, expected] of [
      ["nothing else", ["!a", "!b"], "a\nb\n"],
      ["at a line's start", ["x\n", "!a", "y\n"], "x\na\ny\n"],
      ["in a line", ["x", "!a", "y\nz\n"], "xy\na\nz\n"],
      ["in a line that ends with a piece", ["x", "!a", "y\n", "z"], "xy\na\nz"],
      ["in a line that never ends", ["x", "!a", "y"], "xy\na\n"],
      ["an empty piece", ["x", "!a", "", "y\n"], "xy\na\n"],
    ] as const
  ) {
    await t.step(name, async () => {
      const stderr = collector();
      const sink = new OutputSink({ stdout: collector(), stderr });
      for (const step of steps) {
        if (step.startsWith("!")) await sink.notice(step.slice(1));
        else await sink.write("stderr", bytes(step));
      }
      await sink.finish();
      assert.equal(stderr.text(), expected);
    });
  }
});

Deno.test("OutputSink puts what is said after the end on a line of its own", async () => {
  const stderr = collector();
  const sink = new OutputSink({ stdout: collector(), stderr });
  await sink.write("stderr", bytes("half"));
  await sink.finish();
  await sink.notice("said");
  await sink.finish();
  assert.equal(stderr.text(), "half\nsaid\n");
});

Deno.test("OutputSink loses nothing of stderr and cuts no line, for any order of pieces and notices", async () => {
  const piece = fc.string({ unit: fc.constantFrom("x", "\n") });
  await fc.assert(fc.asyncProperty(fc.array(fc.oneof(piece, fc.constant("!"))), async (steps) => {
    const stderr = collector();
    const sink = new OutputSink({ stdout: collector(), stderr });
    for (const step of steps) await (step === "!" ? sink.notice("!") : sink.write("stderr", bytes(step)));
    await sink.finish();
    const written = steps.filter((step) => step !== "!").join("");
    assert.ok(stderr.text().split("\n").every((line) => line === "!" || !line.includes("!")));
    assert.equal(stderr.text().match(/!/g)?.length ?? 0, steps.filter((step) => step === "!").length);
    // A line feed of our own only where the step left its last line open.
    assert.equal(stderr.text().replaceAll("!\n", "").replace(/\n$/, ""), written.replace(/\n$/, ""));
  }));
});

Deno.test("OutputSink tells a reader that is gone from a disk that is full", async () => {
  const [reading, full] = [new Deno.errors.BrokenPipe("x"), new Error("No space left (os error 28)")];
  for (const [error, exit, code] of [[reading, 141, "output_closed"], [full, 74, "output"]] as const) {
    const sink = new OutputSink({ stdout: { write: () => Promise.reject(error) }, stderr: collector() });
    await assert.rejects(
      sink.write("stdout", bytes("x")),
      (failure) => failure instanceof Failure && failure.exitStatus === exit && failure.code === code,
    );
  }
});
