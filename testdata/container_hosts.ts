/**
 * Hosts with a container engine each, reached as a user reaches them: real sshd in network namespaces, or a real Slurm
 * allocation, and a davit from source as the agent there. Every host has its own store, lock directory and CLI.
 *
 * @module
 */
import type { RuntimeName } from "../lib/container/spec.ts";
import { ENGINE_PROGRAMS, IMAGE } from "./engines.ts";
import { davit, davitArgv, davitEnv, type LiveProcess, type RunResult, startDavit } from "./run.ts";
import { busyboxTar, HOST_PROGRAMS, type RuntimeHost, startRuntimeHost } from "./runtime_host.ts";
import { SLURM_PROGRAMS, startSlurm } from "./slurm_cluster.ts";
import { SSH_HOST_PROGRAMS, type SshHost, startSshHosts } from "./ssh_hosts.ts";
import { type TempDir, tempDir } from "./temp.ts";

/** Hosts of one test file. */
export interface ContainerHosts extends AsyncDisposable {
  readonly names: readonly string[];
  readonly dir: TempDir;
  /** For davit beside what {@linkcode ContainerHosts.davit} gives it anyway. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs `davit container …`. */
  davit(args: readonly string[], options?: DavitOptions): Promise<RunResult>;
  start(args: readonly string[], options?: DavitOptions): LiveProcess;
  /** Writes a spec of these hosts and gives its path; `more` are further lines of YAML. */
  spec(name: string, more?: Readonly<Record<string, unknown>>): Promise<string>;
  /** The engine of one host behind davit's back. */
  cli(host: string, ...args: string[]): Promise<RunResult>;
  engine(host: string): RuntimeHost;
  /** sshd of one host, where there is one. */
  ssh(host: string): SshHost;
  /** `ID STARTED_AT` of the container on each host, or "absent". */
  identities(container: string): Promise<string[]>;
  /** Puts lines of sh in front of every call of a host's CLI; none takes them away. */
  disturb(host: string, ...lines: string[]): Promise<void>;
}

/** See {@linkcode ContainerHosts.davit}. */
export interface DavitOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly timeoutMs?: number;
}

/** What it needs of the machine; for needs(), with root. */
export function hostPrograms(runtime: RuntimeName, fanOut: "local" | "ssh" | "slurm"): string[] {
  const ways = { local: [], ssh: SSH_HOST_PROGRAMS, slurm: SLURM_PROGRAMS };
  return [...ENGINE_PROGRAMS[runtime], ...HOST_PROGRAMS, ...ways[fanOut]];
}

/** How they are made. */
export interface ContainerHostsOptions {
  readonly runtime: RuntimeName;
  readonly fanOut: "local" | "ssh" | "slurm";
  readonly names: readonly string[];
  /** A root filesystem as a tar for the image; busybox alone otherwise. */
  readonly rootTar?: (dir: TempDir) => Promise<string>;
}

/** Starts them: 5 s for three with podman. */
export async function startContainerHosts(options: ContainerHostsOptions): Promise<ContainerHosts> {
  const { runtime, fanOut, names, rootTar = busyboxTar } = options;
  const stack = new AsyncDisposableStack();
  try {
    const dir = stack.use(await tempDir("hosts"));
    const tar = await rootTar(dir);
    const engines = new Map<string, RuntimeHost>();
    const variables = new Map<string, Record<string, string>>();
    for (const name of names) {
      const engine = stack.use(await startRuntimeHost(runtime, tar));
      engines.set(name, engine);
      const front = dir.join(name);
      await Deno.mkdir(front);
      const { PATH: path, ...env } = engine.env;
      const behind = dir.join(`${name}-netns`);
      await Deno.mkdir(behind);
      if (fanOut === "ssh" && runtime === "podman") await keepMounts(behind, engine.env.PATH!.split(":")[0]!);
      variables.set(name, { ...env, PATH: `${front}:${behind}:${path}`, DENO_DIR: davitEnv().DENO_DIR! });
    }
    if (runtime === "docker") await shareImage([...engines.values()], dir);
    const agent = dir.join("agent");
    const words = davitArgv([]).map((word) => `'${word}'`).join(" ");
    await Deno.writeTextFile(agent, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
    const way = await startWay(fanOut, names, variables, stack);
    const settings = {
      DAVIT_CONTAINER_SUDO: "never",
      DAVIT_CONTAINER_AGENT: agent,
      DAVIT_CONTAINER_RUNTIME: runtime,
      USER: "tester",
      ...way.env,
    };
    const argsOf = (args: readonly string[]) => ["container", ...args];
    const withEnv = ({ env, ...rest }: DavitOptions) => ({ ...rest, env: { ...settings, ...env } });
    const cli = (host: string, ...args: string[]) => engines.get(host)!.cli(...args);
    return {
      names,
      dir,
      env: settings,
      davit: (args, davitOptions = {}) =>
        davit(argsOf(args), { timeoutMs: 120_000, ...withEnv(davitOptions) }),
      start: (args, davitOptions = {}) =>
        startDavit(argsOf(args), { timeoutMs: 120_000, ...withEnv(davitOptions) }),
      async spec(name, more = {}) {
        const path = dir.join(`${name}-${crypto.randomUUID().slice(0, 8)}.yaml`);
        const base = {
          name,
          lifetime: "persistent",
          image: IMAGE,
          pull: "never",
          gpus: "none",
          network: "host",
          ...fanOut !== "local" && { hosts: { kind: fanOut, names: way.hosts, options: way.options } },
        };
        await Deno.writeTextFile(path, JSON.stringify({ ...base, ...more }));
        return path;
      },
      cli,
      engine: (host) => engines.get(host)!,
      ssh: (host) => way.ssh.get(host)!,
      identities: (container) =>
        Promise.all(names.map(async (host) => {
          const format = "{{.Id}} {{.State.StartedAt}}";
          const { code, stdout } = await cli(
            host,
            "inspect",
            "--type=container",
            "--format",
            format,
            container,
          );
          return code === 0 ? stdout.trim() : "absent";
        })),
      async disturb(host, ...lines) {
        const path = `${dir.join(host)}/${runtime}`;
        if (lines.length === 0) return await Deno.remove(path);
        // Past this file: the rest of PATH has the real one.
        const script = `#!/bin/sh\nPATH="\${PATH#*:}"\n${lines.join("\n")}\nexec ${runtime} "$@"\n`;
        await Deno.writeTextFile(path, script, { mode: 0o755 });
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** docker's import puts the time into an image: the others get the first one's. */
async function shareImage([first, ...others]: readonly RuntimeHost[], dir: TempDir): Promise<void> {
  const archive = dir.join("image.tar");
  await first!.cli("save", "--output", archive, IMAGE);
  for (const other of others) {
    await other.cli("rmi", IMAGE);
    const { code, stderr } = await other.cli("load", "--input", archive);
    if (code !== 0) throw new Error(`docker load: ${stderr}`);
  }
}

/** `ip netns exec` has a /sys of its own without cgroups; podman then takes ours, and the network of its caller. */
async function keepMounts(directory: string, engineDirectory: string): Promise<void> {
  const script =
    `#!/bin/sh\nexec nsenter --mount=/proc/${Deno.pid}/ns/mnt -- ${engineDirectory}/podman "$@"\n`;
  await Deno.writeTextFile(`${directory}/podman`, script, { mode: 0o755 });
}

interface Way {
  readonly env: Readonly<Record<string, string>>;
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
  readonly options: readonly string[];
  readonly ssh: ReadonlyMap<string, SshHost>;
}

async function startWay(
  fanOut: ContainerHostsOptions["fanOut"],
  names: readonly string[],
  variables: ReadonlyMap<string, Record<string, string>>,
  stack: AsyncDisposableStack,
): Promise<Way> {
  if (fanOut === "local") return { env: variables.get(names[0]!)!, hosts: [], options: [], ssh: new Map() };
  if (fanOut === "slurm") {
    const cluster = stack.use(await startSlurm(Object.fromEntries(variables)));
    const hosts = names.map((name) => ({ name, address: name }));
    return { env: cluster.env, hosts, options: [], ssh: new Map() };
  }
  const wanted = names.map((name) => {
    const { HOME: _, ...env } = variables.get(name)!;
    return { name, env };
  });
  const ssh = stack.use(await startSshHosts(wanted));
  return {
    env: ssh.env,
    hosts: ssh.hosts.map(({ name, address }) => ({ name, address })),
    options: ssh.options,
    ssh: new Map(ssh.hosts.map((host) => [host.name, host])),
  };
}

/** Fails the test where davit did not end with `code`. */
export function ended({ code, stdout, stderr }: RunResult, wanted: number): RunResult {
  if (code === wanted) return { code, stdout, stderr, signal: null };
  throw new Error(`davit ended with ${code}, wanted ${wanted}\n--- stdout\n${stdout}\n--- stderr\n${stderr}`);
}
