/**
 * Servers of the OSDC protocol and a client for them, for tests.
 *
 * @module
 */
import { davitArgv, davitEnv, type LiveProcess, start } from "./run.ts";
import { type TempDir, tempDir } from "./temp.ts";

/** The one that all of these servers have. */
export const TOKEN = "test-token";

/** What came back. */
export interface Reply {
  status: number;
  body: string;
  headers: Map<string, string>;
}

/** A server of its own, as the fork's hook and tests start it. */
export async function startServer(
  dir: TempDir,
  env: Record<string, string> = {},
  flags: readonly string[] = [],
): Promise<{ server: LiveProcess; port: number }> {
  const argv = davitArgv(["hook", "serve", "--compat", "osdc", "--port", "0", "--token", TOKEN, ...flags]);
  const server = start(argv, { env: davitEnv(env), cwd: dir.path });
  const [, port] = await server.waitFor(/^RPC server listening on \[::\]:(\d+)\n/, 30_000);
  return { server, port: Number(port) };
}

/** One request in bytes of our own: no client's habits come between. */
export async function ask(
  port: number,
  method: string,
  path: string,
  { token = TOKEN, body }: { token?: string | null; body?: string | Uint8Array } = {},
): Promise<Reply> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body ?? new Uint8Array();
  const head = [
    `${method} ${path} HTTP/1.1`,
    "Host: localhost",
    "Connection: close",
    ...token === null ? [] : [`X-Auth-Token: ${token}`],
    ...body === undefined ? [] : ["Content-Type: application/json", `Content-Length: ${bytes.length}`],
  ].join("\r\n");
  const writer = connection.writable.getWriter();
  await writer.write(new TextEncoder().encode(`${head}\r\n\r\n`));
  await writer.write(bytes.slice());
  writer.releaseLock();
  const text = await new Response(connection.readable).bytes();
  const raw = new TextDecoder("latin1").decode(text);
  const [top = "", ...rest] = raw.split("\r\n\r\n");
  const [first = "", ...lines] = top.split("\r\n");
  const headers = new Map(
    lines.map((line) => line.split(/: (.*)/s)).map(([name, value]) => [name!.toLowerCase(), value!]),
  );
  return { status: Number(first.split(" ")[1]), body: rest.join("\r\n\r\n"), headers };
}

/** An executable shell script. */
export async function script(dir: TempDir, name: string, text: string): Promise<string> {
  await Deno.writeTextFile(dir.join(name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return dir.join(name);
}

/** Asks for a job as the fork's hook does. */
export async function exec(port: number, id: string, path: string): Promise<Reply> {
  return await ask(port, "POST", "/exec", { body: JSON.stringify({ id, path }) });
}

/** Polls as the fork's hook does until the job has ended. */
export async function untilEnded(port: number, timeoutMs = 20_000): Promise<string> {
  for (const startedMs = performance.now(); performance.now() - startedMs < timeoutMs;) {
    const { body } = await ask(port, "GET", "/status");
    if (/"status":"(completed|failed)"/.test(body)) return body;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no end within ${timeoutMs} ms`);
}

/** Runs `work` with a server that ends with it. */
export async function withServer(
  work: (port: number, dir: TempDir) => Promise<void>,
  env: Record<string, string> = {},
): Promise<void> {
  await using dir = await tempDir("osdc");
  const { server, port } = await startServer(dir, env);
  await using _server = server;
  await work(port, dir);
}
