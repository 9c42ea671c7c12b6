/**
 * `deno run -A scripts/bench/hook.ts [--quick]`: the hook server beside a client of the peer's shape, in the same run:
 * one that polls every 200 ms and takes at most 1 MiB of each stream, as the OSDC fork's hook does. Prints numbers,
 * asserts nothing. CPU times are there too: they say more than the clock on a machine that others use as well.
 *
 * @module
 */
import type { HookClient } from "../../lib/hook/client.ts";
import { FrameDecoder } from "../../lib/hook/frames.ts";
import { FRAME } from "../../lib/hook/protocol.ts";
import { type JobServer, jobServer, startJob } from "../../testdata/hook_jobs.ts";
import { davitArgv, davitEnv, run, start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";

const POLL_MS = 200;
const QUICK = Deno.args.includes("--quick");
const STEPS = QUICK ? 30 : 300;
const LOG_BYTES = (QUICK ? 128 : 1024) << 20;
const IDLE_MS = QUICK ? 3_000 : 20_000;
const TICK_MS = 10;

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((one, other) => one - other);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)]!.toFixed(1);
  return `median ${at(0.5)} ms, 5 % ${at(0.05)}, 95 % ${at(0.95)}`;
}

async function timed(count: number, work: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const begun = performance.now();
    await work();
    times.push(performance.now() - begun);
  }
  return times;
}

/** CPU time of a process so far, without its children's. */
function cpuMs(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

async function steps(server: JobServer): Promise<void> {
  const { pid } = server.process;
  await timed(STEPS / 3, () => server.run({ argv: ["true"] })); // the first ones are compiled yet
  for (const argv of [["true"], ["sleep", "0.05"]]) {
    const before = cpuMs(pid);
    const ours = await timed(STEPS, () => server.run({ argv }));
    const used = ((cpuMs(pid) - before) / STEPS).toFixed(1);
    const polled = await timed(Math.ceil(STEPS / 10), () => pollStep(server.client, argv));
    say(`step ${argv.join(" ").padEnd(10)}  davit  ${spread(ours)}, server's CPU ${used} ms`);
    say(`${" ".repeat(17)}poller ${spread(polled)}`);
  }
}

/** Start, then look every 200 ms whether it has ended. */
async function pollStep(client: HookClient, argv: readonly string[]): Promise<void> {
  const { id } = await startJob(client, { argv });
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const { json } = await client.ask("GET", `/v1/jobs/${id}`);
    if ((json as { status: string }).status === "ended") return;
  }
}

async function wholeProcess(server: JobServer): Promise<void> {
  await using dir = await tempDir("bench-hook");
  await Deno.writeTextFile(dir.join("token"), server.token, { mode: 0o600 });
  const flags = ["--server", server.address, "--token-file", dir.join("token")];
  const argv = davitArgv(["hook", "exec", ...flags, "--", "true"]);
  const times = await timed(Math.ceil(STEPS / 10), () => run(argv, { env: davitEnv() }));
  say(`whole process, hook exec -- true (from source)  ${spread(times)}`);
}

async function throughput(server: JobServer): Promise<void> {
  const script = `head -c ${LOG_BYTES} /dev/zero | tr '\\0' x`;
  const before = cpuMs(server.process.pid);
  const begun = performance.now();
  const { id } = await startJob(server.client, { argv: ["sh", "-c", script] });
  const bytes = await readAll(server.client, id);
  const seconds = (performance.now() - begun) / 1000;
  const status = await Deno.readTextFile(`/proc/${server.process.pid}/status`);
  const peak = /^VmHWM:\s*(\d+)/m.exec(status)?.[1];
  const used = (cpuMs(server.process.pid) - before) / (LOG_BYTES / 2 ** 30);
  say(
    `log of ${LOG_BYTES >> 20} MiB, one reader  davit  ${(bytes / seconds / (1 << 20)).toFixed(0)} MiB/s, ` +
      `server's peak RSS ${(Number(peak) / 1024).toFixed(0)} MiB, CPU ${(used / 1000).toFixed(1)} s a GiB`,
  );
}

async function readAll(client: HookClient, id: string): Promise<number> {
  const response = await client.open("GET", `/v1/jobs/${id}/stream?from=0`);
  const decoder = new FrameDecoder();
  const reader = response.body!.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(256 * 1024);
  let [bytes, pending] = [0, 0];
  for (;;) {
    const { value, done } = await reader.read(new Uint8Array(buffer));
    if (done) return bytes;
    for (const { kind, seq, payload } of decoder.push(value)) {
      if (kind !== FRAME.stdout) continue;
      bytes += payload.length;
      pending += payload.length;
      if (pending < 4 << 20) continue;
      pending = 0;
      void client.ask("POST", `/v1/jobs/${id}/ack`, { body: { seq } }).catch(() => {});
    }
    buffer = value.buffer;
  }
}

/** The same log as the fork's own client takes it: one MiB a poll, as long as the script runs. */
async function polledThroughput(): Promise<void> {
  await using dir = await tempDir("bench-osdc");
  const seconds = QUICK ? 2 : 5;
  await Deno.writeTextFile(dir.join("s.sh"), `timeout ${seconds} tr '\\0' x </dev/zero || true\n`);
  const argv = davitArgv(["hook", "serve", "--compat", "osdc", "--port", "0", "--token", "t"]);
  await using server = start(argv, { env: davitEnv(), cwd: dir.path });
  const [, port] = await server.waitFor(/:(\d+)\n/, 30_000);
  const http = Deno.createHttpClient({
    proxy: { transport: "tcp", hostname: "127.0.0.1", port: Number(port) },
  });
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`http://localhost${path}`, { ...init, headers: { "x-auth-token": "t" }, client: http });
  await (await ask("/exec", { method: "POST", body: JSON.stringify({ id: "a", path: dir.join("s.sh") }) }))
    .text();
  const begun = performance.now();
  let offset = 0;
  while (performance.now() - begun < seconds * 1000) {
    const bytes = await (await ask(`/logs?stream=stdout&offset=${offset}`)).bytes();
    offset += bytes.length;
    await (await ask("/heartbeat", { method: "POST" })).text();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const rate = offset / ((performance.now() - begun) / 1000) / (1 << 20);
  say(`${" ".repeat(24)}poller ${rate.toFixed(1)} MiB/s of each stream, while the script runs`);
  http.close();
}

async function idle(): Promise<void> {
  await using server = await jobServer();
  const kib = (name: string) =>
    Number(
      new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(
        Deno.readTextFileSync(`/proc/${server.process.pid}/status`),
      )?.[1],
    );
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const before = cpuMs(server.process.pid);
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const share = (cpuMs(server.process.pid) - before) / IDLE_MS * 100;
  say(
    `idle server (from source)  RSS ${(kib("VmRSS") / 1024).toFixed(0)} MiB, of it anonymous ${
      (kib("RssAnon") / 1024).toFixed(0)
    } MiB, CPU ${share.toFixed(2)} %`,
  );
}

{
  await using server = await jobServer();
  await steps(server);
  await wholeProcess(server);
}
{
  await using server = await jobServer();
  await throughput(server);
}
await polledThroughput();
await idle();
