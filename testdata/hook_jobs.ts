/**
 * Hook servers for tests of the server itself: on loopback, so that a test and its client may be in other namespaces
 * than the server, and asked without the client's own patience.
 *
 * @module
 */
import { parseServer } from "../lib/hook/address.ts";
import { type Answer, HookClient } from "../lib/hook/client.ts";
import { type Frame, FrameDecoder } from "../lib/hook/frames.ts";
import { FRAME, type JobSpec, type JobStatus, type Result, type ServerStatus } from "../lib/hook/protocol.ts";
import { davitArgv, davitEnv, type LiveProcess, start } from "./run.ts";
import { tempDir } from "./temp.ts";

/** How a server is started. */
export interface JobServerOptions {
  /** Added to `hook serve`. */
  readonly flags?: readonly string[];
  readonly env?: Record<string, string | undefined>;
  /** Shell text that runs first, in a mount namespace of the server's own. */
  readonly prepare?: string;
  /** More for unshare(1) than the mount namespace. */
  readonly unshare?: readonly string[];
  /** Instead of davit from source. */
  readonly program?: readonly string[];
  /** Before the program: setpriv and the like. */
  readonly under?: readonly string[];
  /** Where it listens; a free port of 127.0.0.1. */
  readonly listen?: string;
}

/** What a job left. */
export interface JobOutcome {
  readonly result: Result;
  readonly stdout: string;
  readonly stderr: string;
  /** In order, without `davit: `. */
  readonly notices: readonly string[];
}

/** A server that runs until it is disposed. */
export interface JobServer extends AsyncDisposable {
  readonly process: LiveProcess;
  readonly client: HookClient;
  readonly address: string;
  readonly token: string;
  start(spec: JobSpec, id?: string): Promise<JobStatus>;
  /** Follows a job to its end and takes its output away. */
  follow(id: string): Promise<JobOutcome>;
  /** Both. */
  run(spec: JobSpec, id?: string): Promise<JobOutcome>;
  /** `sh -c SCRIPT`, both. */
  sh(script: string, options?: Omit<JobSpec, "argv" | "script">): Promise<JobOutcome>;
  status(): Promise<ServerStatus>;
}

/** Starts a server and waits until it listens. */
export async function jobServer(options: JobServerOptions = {}): Promise<JobServer> {
  const { flags = [], env = {}, prepare, unshare = [], under = [], listen = "127.0.0.1:0" } = options;
  const dir = await tempDir("jobs");
  const token = crypto.randomUUID();
  await Deno.writeTextFile(dir.join("token"), `${token}\n`, { mode: 0o600 });
  const program = options.program ?? davitArgv([]);
  const argv = [...under, ...program, "hook", "serve", `--listen=${listen}`, "--token-fd=3", ...flags];
  // The token is open before anything is mounted over it.
  const shell = ["sh", "-euc", `exec 3<"$0"\n${prepare ?? ""}\nexec "$@"`, dir.join("token"), ...argv];
  const needsNamespace = prepare !== undefined || unshare.length > 0;
  const process = start(needsNamespace ? ["unshare", "--mount", ...unshare, ...shell] : shell, {
    env: davitEnv(env),
    timeoutMs: 3_600_000,
  });
  const [, address] = await process.waitFor(/^(?:unix:\S+ )?(\S+:\d+)\n/, 60_000).catch(async (error) => {
    await process[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
    throw error;
  });
  const client = new HookClient({ address: parseServer(address!), token });
  const server: JobServer = {
    process,
    client,
    address: address!,
    token,
    start: (spec, id) => startJob(client, spec, id),
    follow: (id) => followToEnd(client, id),
    run: async (spec, id) => await followToEnd(client, (await startJob(client, spec, id)).id),
    sh: (script, more) => server.run({ ...more, argv: ["sh", "-c", script] }),
    status: async () => (await client.ask("GET", "/status")).json as ServerStatus,
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      process.kill("SIGTERM");
      const ended = process.done.then(() => true, () => true);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([ended, new Promise((resolve) => timer = setTimeout(resolve, 15_000))]);
      clearTimeout(timer);
      await process[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
  return server;
}

/** Asks for a job; anything but 201 and 200 is an error. */
export async function startJob(client: HookClient, spec: JobSpec, id?: string): Promise<JobStatus> {
  const answer = await put(client, spec, id);
  if (answer.status > 201) throw new Error(`${answer.status} ${JSON.stringify(answer.json)}`);
  return answer.json as JobStatus;
}

/** Asks for a job, whatever the answer. */
export async function put(
  client: HookClient,
  spec: unknown,
  id: string = crypto.randomUUID(),
): Promise<Answer> {
  return await client.ask("PUT", `/v1/jobs/${id}`, { body: spec });
}

/** All frames after `from`, to the end of the stream; payloads are copies. */
export async function readFrames(client: HookClient, id: string, from = 0): Promise<Frame[]> {
  const response = await client.open("GET", `/v1/jobs/${id}/stream?from=${from}`);
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  const decoder = new FrameDecoder();
  const frames: Frame[] = [];
  for await (const piece of response.body!) {
    for (const frame of decoder.push(piece)) {
      if (frame.kind !== FRAME.keepalive) frames.push({ ...frame, payload: frame.payload.slice() });
    }
  }
  return frames;
}

/** Follows a job to its end and tells the server that all of it was read. */
export async function followToEnd(client: HookClient, id: string): Promise<JobOutcome> {
  const frames = await readFrames(client, id);
  const last = frames.at(-1);
  if (last?.kind !== FRAME.end) throw new Error(`the stream of ${id} has no end`);
  await client.ask("POST", `/v1/jobs/${id}/ack`, { body: { seq: last.seq } });
  const result = JSON.parse(new TextDecoder().decode(last.payload)) as Result;
  const texts = (kind: number) => frames.filter((frame) => frame.kind === kind).map(({ payload }) => payload);
  return {
    result,
    stdout: joined(texts(FRAME.stdout)),
    stderr: joined(texts(FRAME.stderr)),
    notices: texts(FRAME.notice).map((bytes) => joined([bytes]).replace(/^davit: /, "")),
  };
}

function joined(pieces: readonly Uint8Array[]): string {
  const decoder = new TextDecoder();
  return pieces.map((bytes) => decoder.decode(bytes, { stream: true })).join("") + decoder.decode();
}
