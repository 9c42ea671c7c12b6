import assert from "node:assert/strict";
import "../../testdata/open_libc.ts";
import { Failure } from "../failure.ts";
import { tempDir } from "../../testdata/temp.ts";
import { type EntrypointOptions, runEntrypoint, type SignalEvent } from "./entrypoint.ts";
import type { SamplerMessage } from "./sampler_child.ts";

/** Runs `script` with a companion that only notes; `during` may send signals. */
async function runScript(
  script: string,
  during: (send: (event: SignalEvent) => void, breakPipe: () => void) => void = () => {},
) {
  const told: SamplerMessage[] = [];
  let send: (event: SignalEvent) => void = () => {};
  const end = await runEntrypoint({
    argv: ["sh", "-c", script],
    ignored: new Set(),
    listen: (handler) => send = handler,
    accompany(known, sinceUptime, onBrokenPipe) {
      assert.equal(known.size, 1);
      assert.ok(sinceUptime > 0);
      during(send, onBrokenPipe);
      return {
        tell: (message) => void told.push(message),
        end: (message) => Promise.resolve(void told.push(message)),
      };
    },
  });
  return { end, told };
}

const fromTerminal = (name: Deno.Signal): SignalEvent => ({ name, isFromTerminal: true });
const fromKill = (name: Deno.Signal): SignalEvent => ({ name, isFromTerminal: false });

/** Waits until the script has made `path`. */
async function made(path: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      return void await Deno.stat(path);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

Deno.test("runEntrypoint() passes every exit code", async () => {
  const codes = Array.from({ length: 256 }, (_, code) => code);
  for (const code of codes) assert.deepEqual((await runScript(`exit ${code}`)).end, { code, signal: null });
});

Deno.test({
  name: "runEntrypoint() tells by which signal the command ended, real-time ones too",
  // Deno never lets go of a child that a real-time signal ended.
  sanitizeResources: false,
  async fn() {
    for (const [name, number] of [["TERM", 15], ["KILL", 9], ["SEGV", 11], ["USR1", 10]] as const) {
      const { end, told } = await runScript(`ulimit -c 0; kill -${name} $$`);
      assert.deepEqual(end, { code: 128 + number, signal: `SIG${name}` });
      assert.deepEqual(told, [{ kind: "end", ...end }]);
    }
    assert.equal((await runScript("kill -35 $$")).end.code, 163);
  },
});

Deno.test("runEntrypoint() passes a signal on once, and not at all where the terminal has done so", async () => {
  await using dir = await tempDir("entrypoint");
  const script = `
    for s in INT TERM USR1 HUP PIPE; do trap "echo $s >> ${dir.path}/got" $s; done
    : > ${dir.path}/ready
    while [ ! -e ${dir.path}/stop ]; do sleep 0.05; done
    exit 4`;
  const { end, told } = await runScript(script, async (send, breakPipe) => {
    await made(dir.join("ready"));
    send(fromTerminal("SIGINT"));
    send(fromKill("SIGTERM"));
    send(fromKill("SIGCHLD"));
    breakPipe(); // a write to the companion failed: this SIGPIPE is our own
    send(fromKill("SIGPIPE"));
    send(fromTerminal("SIGWINCH"));
    await made(dir.join("got"));
    send(fromKill("SIGUSR1"));
    const isThere = async () => (await Deno.readTextFile(dir.join("got"))).includes("USR1");
    while (!await isThere()) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await Deno.writeTextFile(dir.join("stop"), "");
  });
  assert.deepEqual(end, { code: 4, signal: null });
  assert.equal(await Deno.readTextFile(dir.join("got")), "TERM\nUSR1\n");
  assert.deepEqual(
    told.slice(0, -1),
    ["SIGINT", "SIGTERM", "SIGUSR1"].map((name) => ({ kind: "signal", name })),
  );
});

Deno.test("runEntrypoint() starts a command that ignores what we were told to ignore", async () => {
  const show = (ignored: Set<number>): EntrypointOptions => ({
    argv: ["sh", "-c", "kill -HUP $$; kill -USR2 $$; exit 6"],
    ignored,
    listen() {},
    accompany: () => ({ tell() {}, end: () => Promise.resolve() }),
  });
  assert.deepEqual(await runEntrypoint(show(new Set([1, 12]))), { code: 6, signal: null });
  assert.deepEqual(await runEntrypoint(show(new Set([1]))), { code: 140, signal: "SIGUSR2" });
  assert.deepEqual(await runEntrypoint(show(new Set())), { code: 129, signal: "SIGHUP" });
});

Deno.test("runEntrypoint() refuses what cannot be started, with the shell's codes, and starts no companion", async (t) => {
  await using dir = await tempDir("entrypoint-not");
  await Deno.writeTextFile(dir.join("plain"), "#!/bin/sh\n");
  await Deno.writeTextFile(dir.join("orphan"), "#!/no/interpreter\n", { mode: 0o755 });
  const rows: [program: string, arg: string, exit: number, code: string][] = [
    ["no-such-program-at-all", "", 127, "command_missing"],
    [dir.join("none"), "", 127, "command_missing"],
    [dir.join("orphan"), "", 127, "command_missing"],
    [dir.join("plain"), "", 126, "command_not_executable"],
    [dir.path, "", 126, "command_not_executable"],
    ["true", "x".repeat(200_000), 125, "command_not_started"],
  ];
  for (const [program, arg, exit, code] of rows) {
    await t.step(`${exit} ${program.slice(-30)}`, async () => {
      await assert.rejects(
        runEntrypoint({
          argv: [program, arg],
          ignored: new Set(),
          listen() {},
          accompany: () => assert.fail("a companion was started"),
        }),
        (error) => error instanceof Failure && error.exitStatus === exit && error.code === code,
      );
    });
  }
});
