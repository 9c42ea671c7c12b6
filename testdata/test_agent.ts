/**
 * An agent with handlers for the tests of lib/host/fan_out: it does on demand what goes wrong with real ones.
 * The variable TEST_AGENT_SAYS is printed first, as a login shell's greeting; TEST_AGENT_MARK names a file that gets a
 * line when a call was given up and when the connection has ended.
 *
 * @module
 */
import { Failure } from "../lib/failure.ts";
import type { Handlers } from "../lib/host/fan_out/rpc.ts";
import { servePeer } from "../lib/host/fan_out/serve_peer.ts";

const CHUNK = new Uint8Array(64 << 10).fill(120);

function mark(line: string): void {
  const path = Deno.env.get("TEST_AGENT_MARK");
  if (path !== undefined) Deno.writeTextFileSync(path, `${line}\n`, { append: true });
}

/** Waits until the caller gives up. */
async function untilAborted(signal: AbortSignal): Promise<never> {
  return await new Promise((_, reject) => {
    const stop = () => {
      mark("given up");
      reject(signal.reason);
    };
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
  });
}

/** What it can do. */
export const testHandlers: Handlers = {
  hello: () => Promise.resolve({ pid: Deno.pid, hostname: Deno.hostname() }),
  environment: () => Promise.resolve(Deno.env.toObject()),
  echo: (params) => Promise.resolve(params),
  fail: () =>
    Promise.reject(new Failure("TEMPFAIL", "Cannot do it: it is busy", { code: "busy", hint: "wait" })),
  break: () => Promise.reject(new TypeError("a bug")),
  hang: (_params, { signal }) => untilAborted(signal),
  deaf: () => new Promise(() => {}),
  /** Gives back what comes in, and its length at the end. */
  async pour(_params, { input, send }) {
    let sizeBytes = 0;
    for await (const bytes of input) {
      sizeBytes += bytes.length;
      await send(1, bytes);
    }
    return sizeBytes;
  },
  /** Sends so many bytes on channel 2 and says how far it got, as messages. */
  async spew(params, { send, tell, signal }) {
    const { sizeBytes } = params as { sizeBytes: number };
    for (let sent = 0; sent < sizeBytes && !signal.aborted; sent += CHUNK.length) {
      await send(2, CHUNK);
      tell(sent + CHUNK.length);
    }
    return null;
  },
  /** Gives back messages as messages. */
  async talk(_params, { messages, tell }) {
    for await (const message of messages) tell({ heard: message });
    return null;
  },
  die() {
    Deno.stderr.writeSync(new TextEncoder().encode("about to \u001b[31mdie\n"));
    Deno.kill(Deno.pid, "SIGKILL");
    return new Promise(() => {});
  },
  /** Somebody else prints on our stdout. */
  async blurt() {
    Deno.stdout.writeSync(new TextEncoder().encode("Broadcast message from root: rebooting\n"));
    return await new Promise(() => {});
  },
};

if (import.meta.main) {
  const says = Deno.env.get("TEST_AGENT_SAYS");
  if (says !== undefined) Deno.stdout.writeSync(new TextEncoder().encode(says));
  await servePeer(testHandlers, Deno.stdin.readable, Deno.stdout.writable);
  mark("ended");
  Deno.exit(0);
}
