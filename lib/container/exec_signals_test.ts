import assert from "node:assert/strict";
import { Failure } from "../failure.ts";
import { ExecSignals } from "./exec_signals.ts";

Deno.test("ExecSignals: before a command runs, a signal ends davit", () => {
  using signals = new ExecSignals({ graceMs: 60_000 });
  signals.take("SIGTERM");
  assert.equal((signals.signal.reason as Failure).exitStatus, 143);
});

Deno.test("ExecSignals: while it runs the command gets it; the second one ends the command", async () => {
  using signals = new ExecSignals({ graceMs: 60_000 });
  const messages = signals.messages(["first"])[Symbol.asyncIterator]();
  signals.take("SIGINT");
  signals.take("SIGUSR1");
  assert.equal(signals.signal.aborted, false);
  const told = [await messages.next(), await messages.next(), await messages.next()].map(({ value }) =>
    value
  );
  assert.deepEqual(told, ["first", { signal: "SIGINT" }, { signal: "SIGUSR1" }]);
  signals.take("SIGINT");
  assert.equal((signals.signal.reason as Failure).exitStatus, 130);
});

Deno.test("ExecSignals: a command that does not go within the grace is ended", async () => {
  using signals = new ExecSignals({ graceMs: 5 });
  signals.messages();
  signals.take("SIGINT");
  await new Promise((resolve) => signals.signal.addEventListener("abort", resolve));
  assert.equal((signals.signal.reason as Failure).code, "interrupted");
});
