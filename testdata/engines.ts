/**
 * podman and dockerd with stores and sockets of their own below a test's directory, ended with it. Both run
 * where no limit may be raised and cgroups are of two versions: by runc, cgroupfs and lowered limits.
 *
 * @module
 */
import { must } from "./real_registry.ts";
import { run, type RunResult, start } from "./run.ts";
import { removeTree, tempDir } from "./temp.ts";

/** What a container is run with. */
export interface ContainerOptions {
  /** More flags of `run`, as both programs have them. */
  readonly flags?: readonly string[];
}

/** A container engine. */
export interface Engine extends AsyncDisposable {
  /** The program with its stores, for what has no method here. */
  readonly argv: readonly string[];
  /** Makes the image IMAGE of a root filesystem in a tar file. */
  importRoot(tar: string): Promise<void>;
  /** Runs `argv` in a new container of IMAGE, in the host's network, and removes it. */
  run(argv: readonly string[], options?: ContainerOptions): Promise<RunResult>;
}

/** Debian programs that each needs; for needs(). */
export const ENGINE_PROGRAMS = {
  podman: ["podman", "runc"],
  docker: ["dockerd", "docker", "containerd", "runc"],
} as const;

/** The image that {@linkcode Engine.importRoot} makes. */
export const IMAGE = "localhost/davit-test:1";
const TIMEOUT_MS = 120_000;
/** containers.conf(5) for podman where no limit may be raised and cgroups are of two versions. */
export const PODMAN_CONF = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
`;

/** podman: no daemon, only a store. */
export async function startPodman(): Promise<Engine> {
  const dir = await tempDir("podman");
  await Deno.writeTextFile(dir.join("containers.conf"), PODMAN_CONF);
  // podman refuses a run directory whose path is longer than 50 bytes: there are sockets below it.
  const runDir = await Deno.makeTempDir({ dir: "/tmp", prefix: "davit-" });
  const stores = ["--root", dir.join("root"), "--runroot", runDir, "--tmpdir", `${runDir}/tmp`];
  // At an OOM kill conmon leaves a file "oom" in its current directory.
  const line = [
    "env",
    `--chdir=${dir.path}`,
    `CONTAINERS_CONF=${dir.join("containers.conf")}`,
    "podman",
    "--log-level=error",
  ];
  // Without overlay nothing stays mounted, and nothing has to be there in the kernel.
  const podman = [...line, ...stores, "--storage-driver", "vfs"];
  return {
    argv: podman,
    importRoot: async (tar) => void await must([...podman, "import", tar, IMAGE]),
    run: (argv, { flags = [] } = {}) =>
      run([...podman, "run", "--rm", "--network=host", ...flags, IMAGE, ...argv], { timeoutMs: TIMEOUT_MS }),
    async [Symbol.asyncDispose]() {
      await endOfPodman(dir.path);
      await removeTree(runDir);
      await dir[Symbol.asyncDispose]();
    },
  };
}

/** Waits for podman's processes with the store `path`: it cleans up after `rm` has ended. */
export async function endOfPodman(path: string): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  while (Date.now() < deadline) {
    const found = await run(["pgrep", "--full", "--count", `podman.*${path}`]);
    if (Number(found.stdout) === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** dockerd with its own containerd, ended by SIGTERM; it changes no firewall and makes no bridge. */
export async function startDocker(): Promise<Engine> {
  const dir = await tempDir("docker");
  const socket = `unix://${dir.join("docker.sock")}`;
  const daemon = start([
    ...["dockerd", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"],
    ...[
      "--bridge=none",
      "--storage-driver=vfs",
      "--data-root",
      dir.join("data"),
      "--exec-root",
      dir.join("exec"),
    ],
    ...["-H", socket, "-p", dir.join("pid")],
  ], { timeoutMs: 3_600_000 });
  const docker = ["docker", "-H", socket];
  try {
    await daemon.waitFor(/API listen on/, 60_000);
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
    throw error;
  }
  return {
    argv: docker,
    importRoot: async (tar) => void await must([...docker, "import", tar, IMAGE]),
    run: (argv, { flags = [] } = {}) =>
      run([...docker, "run", "--rm", "--network=host", ...flags, IMAGE, ...argv], { timeoutMs: TIMEOUT_MS }),
    async [Symbol.asyncDispose]() {
      daemon.kill("SIGTERM");
      await daemon.done;
      await dir[Symbol.asyncDispose]();
    },
  };
}
