/**
 * A peer whose other end is testdata/test_agent.ts in a process of its own, behind pipes.
 *
 * @module
 */
import { connectChild } from "../lib/host/fan_out/child_peer.ts";
import type { Peer } from "../lib/host/fan_out/rpc.ts";
import { type Log, silent } from "../lib/host/log.ts";

const ROOT = decodeURIComponent(new URL("../", import.meta.url).pathname);

/** The command line of the test agent. */
export const TEST_AGENT: readonly [string, ...string[]] = [
  Deno.execPath(),
  ...["run", "-A", "--no-prompt", "--quiet", `--config=${ROOT}deno.json`, `${ROOT}testdata/test_agent.ts`],
];

/** What differs from test to test. */
export interface TestPeerOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly argv?: readonly [string, ...string[]];
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly endGraceMs?: number;
  readonly log?: Log;
}

/** Starts one; closed at the end of an `await using` block. */
export async function testPeer(options: TestPeerOptions = {}): Promise<Peer & AsyncDisposable> {
  const { env = {}, argv = TEST_AGENT, timeoutMs = 60_000, log = silent } = options;
  const peer = await connectChild({
    host: "far",
    argv: ["env", ...Object.entries(env).map(([key, value]) => `${key}=${value}`), ...argv],
    classify: ({ end, stderr, greeting }) => ({
      code: "agent",
      what: `status ${end.code}, stderr "${stderr.trim()}", greeting "${greeting.join("|")}"`,
    }),
    log,
    endGraceMs: options.endGraceMs,
    signal: options.signal ?? new AbortController().signal,
    timeoutMs,
  });
  if ("kind" in peer) throw new Error(`wants another try: ${peer.kind}`);
  return { ...peer, [Symbol.asyncDispose]: () => peer.close() };
}
