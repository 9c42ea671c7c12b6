/**
 * Real hook servers for tests: each on a socket of its own in a fresh directory, with its files there too.
 *
 * @module
 */
import { davitArgv, davitEnv, type LiveProcess, type RunOptions, type RunResult, start } from "./run.ts";
import { type TempDir, tempDir } from "./temp.ts";

/** A server that runs until it is disposed, and its directory. */
export interface LiveHookServer extends AsyncDisposable {
  readonly process: LiveProcess;
  readonly dir: TempDir;
  readonly socket: string;
  readonly tokenFile: string;
  /** `davit hook ARGS` with this server's address and token. */
  davit(args: readonly string[], options?: RunOptions): LiveProcess;
  /** The same, to its end. */
  run(args: readonly string[], options?: RunOptions): Promise<RunResult>;
}

/** Starts a server and waits until it listens; `flags` are added to its own. */
export async function liveHookServer(flags: readonly string[] = []): Promise<LiveHookServer> {
  const dir = await tempDir("hook");
  const [socket, tokenFile] = [dir.join("davit.sock"), dir.join("token")];
  await Deno.writeTextFile(tokenFile, `${crypto.randomUUID()}\n`, { mode: 0o600 });
  const own = [`--socket=${socket}`, `--token-file=${tokenFile}`, `--rpc-dir=${dir.join("rpc")}`];
  const process = start(davitArgv(["hook", "serve", ...own, ...flags]), {
    env: davitEnv(),
    timeoutMs: 600_000,
  });
  await process.waitFor(/\n/, 30_000);
  const env = { DAVIT_HOOK_SERVER: socket, DAVIT_HOOK_TOKEN_FILE: tokenFile };
  const begin = (args: readonly string[], options: RunOptions = {}) =>
    start(davitArgv(["hook", ...args]), { ...options, env: davitEnv({ ...env, ...options.env }) });
  return {
    process,
    dir,
    socket,
    tokenFile,
    davit: begin,
    run: async (args, options) => await begin(args, options).done,
    async [Symbol.asyncDispose]() {
      process.kill("SIGTERM");
      const timer = setTimeout(() => process.kill("SIGKILL"), 10_000);
      await process.done.catch(() => {});
      clearTimeout(timer);
      await process[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}
