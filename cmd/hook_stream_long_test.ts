import assert from "node:assert/strict";
import { cuttingProxy } from "../testdata/cutting_proxy.ts";
import { liveHookServer } from "../testdata/live_hook_server.ts";
import { davitArgv, davitEnv } from "../testdata/run.ts";

const TOTAL_BYTES = 1 << 30;
const LIMIT_KB = 120 * 1024;
/** A gigabyte that is different everywhere, made twice: once as the job's output, once to compare. */
const NUMBERS = ["seq", "-f", "%031.0f", "1", String(TOTAL_BYTES / 32)];

/** Largest resident set of a process so far. */
async function peakKb(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^VmHWM:\s*(\d+) kB/m.exec(status)?.[1]);
}

async function digestOf(argv: readonly string[], env: Record<string, string | undefined>) {
  const [program = "", ...args] = argv;
  const variables = { ...Deno.env.toObject(), ...env };
  const child = new Deno.Command("sh", {
    args: ["-c", '"$@" | sha256sum', "sh", program, ...args],
    clearEnv: true,
    env: Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined)) as Record<
      string,
      string
    >,
    stdout: "piped",
  });
  const { stdout } = await child.output();
  return new TextDecoder().decode(stdout);
}

Deno.test("hook exec: 1 GiB through a proxy that cuts every second is the same, in less than 120 MiB each", async () => {
  await using server = await liveHookServer();
  await using proxy = cuttingProxy({ transport: "unix", path: server.socket }, { cutEveryMs: 1_000 });
  const expected = await digestOf(NUMBERS, {});

  // The client says its own pid: a shell becomes it.
  const client = davitArgv([
    "hook",
    "exec",
    "--server",
    proxy.address,
    "--token-file",
    server.tokenFile,
    "--",
    ...NUMBERS,
  ]);
  const pidFile = server.dir.join("client");
  const peaks: number[] = [];
  const timer = setInterval(async () => {
    const pid = Number(await Deno.readTextFile(pidFile).catch(() => "0"));
    if (pid > 0) peaks.push(await peakKb(pid).catch(() => 0));
  }, 100);
  const begun = performance.now();
  const found = await digestOf(["sh", "-c", 'echo $$ >"$0"; exec "$@"', pidFile, ...client], davitEnv())
    .finally(() => clearInterval(timer));
  const seconds = (performance.now() - begun) / 1000;
  assert.equal(found, expected);
  assert.ok(proxy.cuts() >= 2, `${proxy.cuts()} connections cut in ${seconds} s`);
  const [own, served] = [Math.max(...peaks), await peakKb(server.process.pid)];
  assert.ok(own < LIMIT_KB && served < LIMIT_KB, `client ${own} KiB, server ${served} KiB`);
});
