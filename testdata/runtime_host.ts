/**
 * One host for tests of lib/container: a real docker or podman with a store of its own, reached as davit reaches it,
 * by the programs on a PATH; and its handlers, called in this process.
 *
 * @module
 */
import { hostHandlers, type HostOptions } from "../lib/container/agent/handlers.ts";
import type { IdentityLabels, ImageFacts } from "../lib/container/facts.ts";
import type { HostMethod, HostMethods } from "../lib/container/host_methods.ts";
import type { ContainerSpec, RuntimeName } from "../lib/container/spec.ts";
import type { Serving } from "../lib/host/fan_out/rpc.ts";
import { type Engine, IMAGE, startDocker, startPodman } from "./engines.ts";
import { findProgram } from "./needs.ts";
import { must } from "./real_registry.ts";
import { run, type RunResult } from "./run.ts";
import { type TempDir, tempDir } from "./temp.ts";

/** What goes on beside a call. */
export interface CallParts {
  readonly signal?: AbortSignal;
  readonly input?: AsyncIterable<Uint8Array>;
  readonly messages?: AsyncIterable<unknown>;
  /** Gets output as it comes; the promise holds the sender back. */
  readonly onBytes?: (channel: number, bytes: Uint8Array) => void | Promise<void>;
}

/** A call's result and what came with it. */
export interface Called<R> {
  readonly result: R;
  readonly stdout: Uint8Array<ArrayBuffer>;
  readonly stderr: string;
  readonly told: readonly unknown[];
}

/** A host with one runtime. */
export interface RuntimeHost extends AsyncDisposable {
  readonly runtime: RuntimeName;
  /** For {@linkcode hostHandlers}: PATH leads to the CLI with this host's store. */
  readonly env: Record<string, string>;
  readonly target: { readonly runtime: RuntimeName; readonly sudo: "never" };
  /** The CLI itself, for what a test does behind davit's back. */
  cli(...args: string[]): Promise<RunResult>;
  call<M extends HostMethod>(
    method: M,
    params: HostMethods[M]["params"],
    parts?: CallParts,
  ): Promise<Called<HostMethods[M]["result"]>>;
  /** Another connection; the caller disposes it. */
  open(options?: Partial<HostOptions>): Serving;
}

/** Programs that {@linkcode startRuntimeHost} needs beside ENGINE_PROGRAMS. */
export const HOST_PROGRAMS: readonly string[] = ["/bin/busybox", "tar"];

/** Starts one; its image is IMAGE, from `tar` or a busybox. */
export async function startRuntimeHost(runtime: RuntimeName, tar?: string): Promise<RuntimeHost> {
  const dir = await tempDir("host");
  let engine: Engine | undefined;
  try {
    engine = runtime === "docker" ? await startDocker() : await startPodman();
    await engine.importRoot(tar ?? await busyboxTar(dir));
    const bin = dir.join("bin");
    await Deno.mkdir(bin);
    // As a variable: `docker -H` in a wrapper would leave no room for another -H.
    const argv = runtime === "docker" ? ["env", `DOCKER_HOST=${engine.argv[2]}`, "docker"] : engine.argv;
    await writeWrapper(`${bin}/${runtime}`, argv, runtime);
    await Deno.mkdir(dir.join("locks"));
    return hostOf(runtime, engine, dir);
  } catch (error) {
    await engine?.[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
    throw error;
  }
}

function hostOf(runtime: RuntimeName, engine: Engine, dir: TempDir): RuntimeHost {
  const env = {
    PATH: `${dir.join("bin")}:${Deno.env.get("PATH")}`,
    HOME: dir.path,
    DAVIT_CONTAINER_LOCK_DIR: dir.join("locks"),
  };
  const serving = hostHandlers({ env });
  return {
    runtime,
    env,
    target: { runtime, sudo: "never" },
    cli: (...args) => run([...engine.argv, ...args]),
    call: (method, params, parts) => callHandler(serving, method, params, parts),
    open: (options) => hostHandlers({ env, ...options }),
    async [Symbol.asyncDispose]() {
      await serving[Symbol.asyncDispose]();
      const all = await run([...engine.argv, "ps", "--all", "--quiet", "--no-trunc"]);
      const ids = all.stdout.split("\n").filter(Boolean);
      if (ids.length > 0) await run([...engine.argv, "rm", "--force", "--volumes", ...ids]);
      await engine[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

/** Calls a handler as a connection would. */
export async function callHandler<M extends HostMethod>(
  { handlers }: Serving,
  method: M,
  params: HostMethods[M]["params"],
  { signal = AbortSignal.timeout(120_000), input = none(), messages = none(), onBytes }: CallParts = {},
): Promise<Called<HostMethods[M]["result"]>> {
  const chunks: [number, Uint8Array<ArrayBuffer>][] = [];
  const told: unknown[] = [];
  const result = await handlers[method]!(JSON.parse(JSON.stringify(params)), {
    signal,
    async send(channel, bytes) {
      chunks.push([channel, bytes.slice()]);
      await onBytes?.(channel, bytes);
    },
    tell: (message) => told.push(message),
    input,
    messages,
  });
  const of = (wanted: number) => chunks.filter(([channel]) => channel === wanted).map(([, bytes]) => bytes);
  return {
    result: result as HostMethods[M]["result"],
    stdout: new Uint8Array(await new Blob(of(1)).arrayBuffer()),
    stderr: await new Blob(of(2)).text(),
    told,
  };
}

async function* none(): AsyncGenerator<never> {}

/** An executable that calls the real one, found now: the test's PATH has the wrapper under the same name. */
async function writeWrapper(path: string, argv: readonly string[], runtime: RuntimeName): Promise<void> {
  const words = argv.map((word) => word === runtime ? findProgram(runtime)! : word);
  const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  await Deno.writeTextFile(path, `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
}

/** A root filesystem of busybox alone, as a tar. */
export async function busyboxTar(dir: TempDir): Promise<string> {
  await must(["sh", "-eu", "-c", BUSYBOX_SCRIPT, "sh", dir.path]);
  return dir.join("busybox.tar");
}

const BUSYBOX_SCRIPT = `
cd "$1"; mkdir -p root/bin root/etc root/tmp root/root
for applet in $(busybox --list); do ln -sf busybox root/bin/$applet; done
rm root/bin/busybox; cp /bin/busybox root/bin/busybox
printf 'root:x:0:0::/root:/bin/sh\\nuser:x:1000:1000::/tmp:/bin/sh\\n' > root/etc/passwd
printf 'root:x:0:\\nuser:x:1000:\\n' > root/etc/group
tar -C root --owner=0 --group=0 -cf busybox.tar .
rm -r root
`;

/** A spec that this machine can grant. */
export function sampleSpec(changes: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    name: "sample",
    lifetime: "persistent",
    image: IMAGE,
    pull: "never",
    hosts: [{ name: "localhost", address: "localhost" }],
    fanOut: { kind: "local", options: [] },
    runtime: "docker",
    sudo: "never",
    env: {},
    envFiles: [],
    volumes: [],
    devices: [],
    gpus: "none",
    capAdd: [],
    securityOpt: [],
    groupAdd: [],
    ulimits: [],
    network: "host",
    privileged: false,
    init: false,
    entrypoint: [],
    command: ["sleep", "infinity"],
    startTimeoutMs: 60_000,
    ...changes,
  };
}

/** Labels of a generation. */
export function sampleLabels(spec: ContainerSpec, image: ImageFacts, generation = "g1"): IdentityLabels {
  return {
    owner: "tester",
    name: spec.name,
    generation,
    spec: "0".repeat(64),
    specJson: JSON.stringify({ name: spec.name }),
    imageDigest: image.digest,
    provision: "none",
    lifetime: spec.lifetime,
    leaseMs: "none",
  };
}

/** Creates and starts a container; its id. */
export async function makeContainer(
  host: RuntimeHost,
  changes: Partial<ContainerSpec> = {},
): Promise<string> {
  const spec = sampleSpec(changes);
  const { name } = spec;
  const { result: image } = await host.call("image", {
    ...host.target,
    name,
    image: spec.image,
    pull: "never",
  });
  const labels = sampleLabels(spec, image);
  const { result: { id } } = await host.call("create", { ...host.target, name, spec, labels, image });
  await host.call("start", { ...host.target, name, id, timeoutMs: 60_000 });
  return id;
}
