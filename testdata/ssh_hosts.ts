/**
 * Real sshd "hosts" on this machine: each has a network namespace on a bridge, a hostname, a home, a host key and an
 * environment of its own. Files, users and processes are shared. Everything is ended by pid and removed.
 *
 * @module
 */
import { must } from "./real_registry.ts";
import { type LiveProcess, run, start } from "./run.ts";
import { tempDir } from "./temp.ts";

/** One host. */
export interface SshHost {
  readonly name: string;
  readonly address: string;
  /** Its $HOME; what is pushed lands in .cache below it. */
  readonly home: string;
  /** Drops every packet that comes in, so that who connects waits. */
  drop(): Promise<void>;
  /** Takes its cable out; others then hear "No route to host" or nothing. */
  unplug(): Promise<void>;
  /** Undoes both. */
  restore(): Promise<void>;
  /** Runs argv there beside sshd. */
  run(argv: readonly string[]): ReturnType<typeof run>;
  /** Ends its sshd and all its sessions, as a crash would, and starts sshd anew. */
  restart(): Promise<void>;
  /** What its sshd has logged; "Accepted publickey" once a connection. */
  log(): string;
}

/** Hosts that can reach each other by address. */
export interface SshHosts extends AsyncDisposable {
  readonly hosts: readonly SshHost[];
  /** For `ssh -F`: names, key and known_hosts. */
  readonly config: string;
  /** The same as words for davit's ssh options. */
  readonly options: readonly string[];
  /** Variables for a davit that connects: shared connections are then ended with the hosts. */
  readonly env: Readonly<Record<string, string>>;
}

/** What differs from host to host. */
export interface SshHostSettings {
  readonly name: string;
  /** Environment of its sessions beside HOME and PATH. */
  readonly env?: Readonly<Record<string, string>>;
  /** More lines of sshd_config. */
  readonly sshd?: readonly string[];
  /** Its sshd knows no key. */
  readonly refusesLogin?: boolean;
}

/** Debian programs that it needs; for needs(), with root. */
export const SSH_HOST_PROGRAMS = ["sshd", "ssh", "ssh-keygen", "ip", "iptables", "unshare"] as const;

const STARTED_REGEXP = /Server listening on/;

/** Starts them: 1 s for three. */
export async function startSshHosts(wanted: readonly SshHostSettings[]): Promise<SshHosts> {
  const dir = await tempDir("ssh");
  const stack = new AsyncDisposableStack();
  stack.use(dir);
  try {
    // A directory that sshd wants, whoever starts it; the package makes it at boot.
    await Deno.mkdir("/run/sshd", { recursive: true, mode: 0o755 });
    await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir.join("key")]);
    const net = await makeBridge(stack);
    const hosts = await Promise.all(
      wanted.map((settings, index) =>
        startHost(settings, `${net.prefix}.${index + 2}`, { bridge: net.bridge, dir: dir.path, stack })
      ),
    );
    await Deno.writeTextFile(dir.join("known_hosts"), hosts.map(({ known }) => known).join(""));
    const config = dir.join("ssh_config");
    await Deno.writeTextFile(
      config,
      [
        ...hosts.map(({ name, address }) => `Host ${name}\n  HostName ${address}\n  HostKeyAlias ${address}`),
        `Host *\n  User root\n  IdentityFile ${dir.join("key")}\n  IdentitiesOnly yes\n  IdentityAgent none`,
        `  UserKnownHostsFile ${dir.join("known_hosts")}\n  GlobalKnownHostsFile /dev/null\n`,
      ].join("\n"),
    );
    // Short: sockets lie below it.
    const runtime = await Deno.makeTempDir({ dir: "/tmp", prefix: "davit-" });
    stack.defer(async () => {
      await endMasters(`${runtime}/davit-ssh`);
      await Deno.remove(runtime, { recursive: true });
    });
    return {
      hosts,
      config,
      options: ["-F", config],
      env: { XDG_RUNTIME_DIR: runtime },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function makeBridge(stack: AsyncDisposableStack): Promise<{ bridge: string; prefix: string }> {
  const used = await must(["ip", "-4", "-o", "addr"]);
  for (let round = 0; round < 20; round++) {
    const [a, b] = crypto.getRandomValues(new Uint8Array(2));
    const prefix = `10.${200 + a! % 50}.${b}`;
    const bridge = `dvt${a!.toString(16)}${b!.toString(16)}`;
    if (used.includes(` ${prefix}.`)) continue;
    const { code } = await run(["ip", "link", "add", bridge, "type", "bridge"]);
    if (code !== 0) continue; // another test was faster
    stack.defer(async () => void await run(["ip", "link", "del", bridge]));
    await must(["ip", "addr", "add", `${prefix}.1/24`, "dev", bridge]);
    await must(["ip", "link", "set", bridge, "up"]);
    return { bridge, prefix };
  }
  throw new Error("Cannot make a bridge: twenty names were taken");
}

async function startHost(
  { name, env = {}, sshd = [], refusesLogin = false }: SshHostSettings,
  address: string,
  { bridge, dir, stack }: { bridge: string; dir: string; stack: AsyncDisposableStack },
): Promise<SshHost & { known: string }> {
  const space = `${bridge}-${address.split(".")[3]}`;
  const cable = `${bridge}h${address.split(".")[3]}`;
  const own = `${dir}/${name}`;
  const home = `${own}/home`;
  await Deno.mkdir(home, { recursive: true });
  await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", `${own}/host_key`]);
  await must(["ip", "netns", "add", space]);
  stack.defer(async () => void await run(["ip", "netns", "del", space]));
  await must(["ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space]);
  await must(["ip", "link", "set", cable, "master", bridge, "up"]);
  const inside = ["ip", "netns", "exec", space];
  await must([
    ...inside,
    ...["sh", "-c", `ip link set lo up; ip addr add ${address}/24 dev eth0; ip link set eth0 up`],
  ]);
  const variables = {
    HOME: home,
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ...env,
  };
  await Deno.writeTextFile(
    `${own}/sshd_config`,
    [
      `ListenAddress ${address}`,
      `HostKey ${own}/host_key`,
      `AuthorizedKeysFile ${refusesLogin ? "none" : `${dir}/key.pub`}`,
      ...["PidFile none", "StrictModes no", "UsePAM no", "UseDNS no", "PermitRootLogin prohibit-password"],
      ...["PasswordAuthentication no", "KbdInteractiveAuthentication no", "LogLevel VERBOSE"],
      // One line: the first SetEnv counts.
      `SetEnv ${Object.entries(variables).map(([key, value]) => `"${key}=${value}"`).join(" ")}`,
      ...sshd,
      "",
    ].join("\n"),
  );
  let log = "";
  async function startSshd(): Promise<LiveProcess> {
    const daemon = start([
      ...inside,
      ...["unshare", "--uts", "sh", "-c", `hostname "$1"; exec /usr/sbin/sshd -D -e -f "$2"`, "sh"],
      ...[name, `${own}/sshd_config`],
    ], { timeoutMs: 3_600_000 });
    await daemon.waitFor(STARTED_REGEXP, 60_000);
    return daemon;
  }
  async function end(): Promise<void> {
    log += daemon.stderr();
    // Sessions have left sshd's process group; what they started is in the namespace, too.
    for (const pid of (await run(["ip", "netns", "pids", space])).stdout.split("\n").filter(Boolean)) {
      try {
        Deno.kill(Number(pid), "SIGKILL");
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    await daemon[Symbol.asyncDispose]();
  }
  let daemon = await startSshd();
  stack.defer(end);
  const known = `${address} ${(await Deno.readTextFile(`${own}/host_key.pub`)).trim()}\n`;
  return {
    name,
    address,
    home,
    known,
    drop: async () => void await must([...inside, "iptables", "-A", "INPUT", "-j", "DROP"]),
    unplug: async () => void await must(["ip", "link", "set", cable, "down"]),
    async restore() {
      await must([...inside, "iptables", "-F", "INPUT"]);
      await must(["ip", "link", "set", cable, "up"]);
    },
    run: (argv) => run([...inside, ...argv]),
    async restart() {
      await end();
      daemon = await startSshd();
    },
    log: () => log + daemon.stderr(),
  };
}

/** Ends the shared connections whose sockets lie here. */
async function endMasters(directory: string): Promise<void> {
  let sockets: string[];
  try {
    sockets = (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => `${directory}/${name}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  for (const socket of sockets) await run(["ssh", "-F", "none", "-S", socket, "-O", "exit", "any"]);
}
