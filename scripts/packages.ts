/**
 * The Debian packages that davit's demo and tests need, and their installation: with apt-get when we are root,
 * else one line that says what to run. sudo is never run from here.
 *
 * @module
 */
import { findProgram } from "../testdata/needs.ts";

/** Who needs a package; the tests need all of them. */
export type Group = "demo" | "build" | "cross" | "test";

/** One Debian package, and how to see that what it brings is there, however it came. */
export interface Package {
  readonly name: string;
  /** Programs on PATH (or in sbin), or absolute paths. */
  readonly programs: readonly string[];
  /** Files that are no programs: headers, libraries. */
  readonly files?: readonly string[];
  readonly group: Group | readonly Group[];
  /** The programs must have no dynamic loader: they run in a root filesystem without libraries. */
  readonly linkedStatically?: boolean;
  /** A service that the package starts where systemd runs; nobody asked for it, so it is stopped again. */
  readonly service?: string;
}

/** All of them. */
export const PACKAGES: readonly Package[] = [
  { name: "squashfs-tools", programs: ["sqfstar", "unsquashfs", "mksquashfs"], group: ["demo", "build"] },
  { name: "docker-registry", programs: ["docker-registry"], group: "demo", service: "docker-registry" },
  { name: "skopeo", programs: ["skopeo"], group: "demo" },
  { name: "umoci", programs: ["umoci"], group: "demo" },
  { name: "busybox-static", programs: ["/bin/busybox"], group: "demo", linkedStatically: true },
  { name: "util-linux", programs: ["flock", "unshare", "setpriv", "prlimit"], group: "demo" },
  { name: "gcc", programs: ["cc"], group: "build" },
  { name: "libc6-dev", programs: [], files: ["/usr/include/stdio.h"], group: "build" },
  { name: "libzstd-dev", programs: [], files: ["/usr/include/zstd.h"], group: "build" },
  { name: "binutils", programs: ["readelf"], group: "build" },
  { name: "gcc-aarch64-linux-gnu", programs: ["aarch64-linux-gnu-gcc"], group: "cross" },
  {
    name: "libc6-dev-arm64-cross",
    programs: [],
    files: ["/usr/aarch64-linux-gnu/include/stdio.h"],
    group: "cross",
  },
  { name: "qemu-user-static", programs: ["qemu-aarch64-static"], group: "test" },
  { name: "procps", programs: ["ps"], group: "test" },
  { name: "openssl", programs: ["openssl"], group: "test" },
  { name: "curl", programs: ["curl"], group: "test" },
  { name: "wget", programs: ["wget"], group: "test" },
  { name: "perl", programs: ["shasum"], group: "test" },
  { name: "git", programs: ["git"], group: "test" },
  { name: "pigz", programs: ["pigz"], group: "test" },
  { name: "squashfuse", programs: ["squashfuse"], group: "test" },
  { name: "debootstrap", programs: ["debootstrap"], group: "test" },
  { name: "strace", programs: ["strace"], group: "test" },
  // Its loader is named after the architecture.
  { name: "musl", programs: [], files: ["/usr/share/doc/musl/copyright"], group: "test" },
  { name: "podman", programs: ["podman"], group: "test" },
  { name: "runc", programs: ["runc"], group: "test" },
  { name: "containerd", programs: ["containerd"], group: "test", service: "containerd" },
  { name: "docker.io", programs: ["dockerd", "docker"], group: "test", service: "docker" },
  { name: "sshfs", programs: ["sshfs"], group: "test" },
  { name: "openssh-sftp-server", programs: ["/usr/lib/openssh/sftp-server"], group: "test" },
  { name: "openssh-client", programs: ["ssh", "ssh-keygen"], group: "test" },
  { name: "openssh-server", programs: ["sshd"], group: "test", service: "ssh" },
  { name: "uidmap", programs: ["newuidmap"], group: "test" },
  { name: "sudo", programs: ["sudo"], group: "test" },
  { name: "iproute2", programs: ["ip"], group: "test" },
  { name: "iptables", programs: ["iptables"], group: "test" },
  { name: "munge", programs: ["munged"], group: "test", service: "munge" },
  { name: "slurmctld", programs: ["slurmctld"], group: "test", service: "slurmctld" },
  { name: "slurmd", programs: ["slurmd"], group: "test", service: "slurmd" },
  { name: "slurm-client", programs: ["srun", "salloc", "scontrol", "squeue"], group: "test" },
  { name: "fuse3", programs: ["fusermount3"], group: "test" },
  { name: "attr", programs: ["getfattr", "setfattr"], group: "test" },
  { name: "bzip2", programs: ["bzip2"], group: "test" },
  { name: "xz-utils", programs: ["xz"], group: "test" },
  { name: "zstd", programs: ["zstd"], group: ["build", "test"] },
  { name: "systemd", programs: ["systemd-analyze"], group: "test" },
  { name: "chromium", programs: ["chromium"], group: "test" },
  { name: "shellcheck", programs: ["shellcheck"], group: "test" },
  { name: "bsdutils", programs: ["script"], group: "test" },
  {
    name: "prometheus-node-exporter",
    programs: ["prometheus-node-exporter"],
    group: "test",
    service: "prometheus-node-exporter",
  },
  { name: "zsh", programs: ["zsh"], group: "test" },
  { name: "fish", programs: ["fish"], group: "test" },
];

/** What a test of this module replaces. */
export interface PackageOptions {
  packages?: readonly Package[];
  aptGet?: string;
  isRoot?: boolean;
}

const EXIT_UNAVAILABLE = 69;
const APT_LISTS = "/var/lib/apt/lists";
/** Two minutes on the slowest machine seen; a mirror that stalls ends by apt's own 30 s and 3 tries. */
const APT_DEADLINE_MS = 15 * 60_000;
const APT_OPTIONS = [
  "-o",
  "DPkg::Lock::Timeout=300",
  "-o",
  "Acquire::Retries=3",
  "-o",
  "Acquire::http::Timeout=30",
];
const SHOWN_LINES = 15;

/**
 * Installs what is missing of a group. Where that is not ours to do, it prints the command to run: demo and build
 * then end (69), the tests go on and skip what they cannot do. An installation that fails ends all of them (69).
 */
export async function ensurePackages(group: Group, options: PackageOptions = {}): Promise<void> {
  const { packages = PACKAGES, aptGet = "apt-get", isRoot = Deno.uid() === 0 } = options;
  const wanted = packages.filter((item) => group === "test" || [item.group].flat().includes(group));
  const missing = wanted.filter((item) => !isPresent(item));
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name);

  if (!isRoot || findProgram(aptGet) === undefined) {
    say(`Debian packages are missing; install them with: sudo apt-get install -y ${names.join(" ")}`);
    if (group !== "test") Deno.exit(EXIT_UNAVAILABLE);
    return;
  }
  try {
    await install(aptGet, names);
  } catch (error) {
    say(`Cannot install ${names.join(" ")}: ${(error as Error).message}`);
    Deno.exit(EXIT_UNAVAILABLE);
  }
  const still = missing.filter((item) => !isPresent(item)).map(({ name }) => name);
  if (still.length > 0) {
    say(`Cannot use ${still.join(" ")}: apt-get installed it, but its programs are not there`);
    Deno.exit(EXIT_UNAVAILABLE);
  }
  await stopServices(missing);
}

/** Whether everything the package is wanted for is on this machine. */
export function isPresent({ programs, files = [], linkedStatically = false }: Package): boolean {
  return files.every(isFile) && programs.every((program) => {
    const path = findProgram(program);
    return path !== undefined && (!linkedStatically || isStaticElf(path));
  });
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

async function install(aptGet: string, names: readonly string[]): Promise<void> {
  const startedMs = performance.now();
  const list = ["install", "-y", "--no-install-recommends", ...names];
  if (!hasPackageLists()) await runApt(aptGet, ["update"]);
  try {
    await runApt(aptGet, list);
  } catch {
    // Lists that are older than the mirror name packages it no longer has: say nothing yet, fetch them anew.
    await runApt(aptGet, ["update"]);
    await runApt(aptGet, list);
  }
  say(`installed ${names.join(" ")} in ${Math.round((performance.now() - startedMs) / 1000)} s`);
}

function hasPackageLists(): boolean {
  try {
    return [...Deno.readDirSync(APT_LISTS)].some(({ name }) => name.includes("_Packages"));
  } catch {
    return false;
  }
}

/** Runs apt-get; its words are shown only when it fails, the last lines of them. */
async function runApt(aptGet: string, args: readonly string[]): Promise<void> {
  say(`apt-get ${args.join(" ")}`);
  const child = new Deno.Command(aptGet, {
    args: [...APT_OPTIONS, ...args],
    env: { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(APT_DEADLINE_MS),
  });
  const { code, stdout, stderr } = await child.output();
  if (code === 0) return;
  const lines = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  const last = lines.trim().split("\n").slice(-SHOWN_LINES).map((line) => `\n  ${line}`).join("");
  throw new Error(`apt-get ${args[0]} ended with status ${code}; its last lines:${last}`);
}

async function stopServices(installed: readonly Package[]): Promise<void> {
  for (const { service } of installed) {
    if (service === undefined || findProgram("systemctl") === undefined) continue;
    const command = new Deno.Command("systemctl", { args: ["disable", "--now", service], stdin: "null" });
    const { success } = await command.output();
    // Where systemd is only installed and not running, nothing was started either.
    if (success) say(`stopped the service ${service}, which its package had started`);
  }
}

const ELF_MAGIC = 0x7f454c46;
const PT_INTERP = 3;

/** Whether a 64-bit little-endian ELF file names no interpreter; elf(5), program headers. */
function isStaticElf(path: string): boolean {
  using file = Deno.openSync(path);
  const bytes = new Uint8Array(4096);
  const size = file.readSync(bytes) ?? 0;
  const view = new DataView(bytes.buffer, 0, size);
  if (size < 64 || view.getUint32(0) !== ELF_MAGIC) return false;
  const offset = Number(view.getBigUint64(32, true));
  const entrySize = view.getUint16(54, true);
  const count = view.getUint16(56, true);
  if (offset + count * entrySize > size) return false;
  return Array.from({ length: count }, (_, index) => view.getUint32(offset + index * entrySize, true))
    .every((type) => type !== PT_INTERP);
}

function say(text: string): void {
  const bytes = new TextEncoder().encode(`davit: ${text}\n`);
  Deno.stderr.writeSync(bytes);
}
