/**
 * Where the pieces for one architecture come from: this machine's own packages, or, for another architecture, the
 * same packages fetched with an apt-get whose state lies in a temporary directory, so that nothing of this machine
 * changes, and the deno package for it from npm.
 *
 * @module
 */
import { findProgram } from "../../testdata/needs.ts";
import { say, succeed } from "./commands.ts";

/** Architectures as `uname -m` says them. */
export type Architecture = "x86_64" | "aarch64";

/** The pieces, as paths on this machine. */
export interface Target {
  readonly arch: Architecture;
  /** The C compiler's command line, up to the sources. */
  readonly cc: readonly string[];
  /** What follows the sources. */
  readonly libraries: readonly string[];
  /** Archives that become part of the launcher. */
  readonly archives: readonly string[];
  readonly deno: string;
  readonly denoVersion: string;
  /** The dynamic loader. */
  readonly loader: string;
  readonly libraryDirs: readonly string[];
  /** By the name to call it by. */
  readonly tools: Readonly<Record<string, string>>;
  /** The Debian package that a file came from. */
  packageOf(path: string): Promise<{ name: string; version: string }>;
}

const LOADERS = { x86_64: "ld-linux-x86-64.so.2", aarch64: "ld-linux-aarch64.so.1" } as const;
const NPM_DENO = "@deno/linux-arm64-glibc";
const ARM_PACKAGES = [
  "libc6",
  "libgcc-s1",
  "libzstd-dev",
  "libzstd1",
  "squashfs-tools",
  "zlib1g",
  "liblzma5",
  "liblzo2-2",
  "liblz4-1",
];

/** This machine's architecture. Throws when davit is not built for it. */
export function hostArchitecture(): Architecture {
  const { arch, os } = Deno.build;
  if (os === "linux" && (arch === "x86_64" || arch === "aarch64")) return arch;
  throw new Error(`Cannot build on ${os}/${arch}: linux on x86_64 or aarch64 was wanted`);
}

/** The pieces for this machine. */
export function hostTarget(): Target {
  const arch = hostArchitecture();
  const multiarch = `/usr/lib/${arch}-linux-gnu`;
  const tool = (name: string) => {
    const path = findProgram(name);
    if (path === undefined) throw new Error(`Cannot pack "${name}": it is not on PATH`);
    return Deno.realPathSync(path);
  };
  return {
    arch,
    cc: ["cc"],
    libraries: ["-lzstd"],
    archives: [`${multiarch}/libc.a`, `${multiarch}/libzstd.a`],
    deno: Deno.execPath(),
    denoVersion: Deno.version.deno,
    loader: `${multiarch}/${LOADERS[arch]}`,
    libraryDirs: [multiarch],
    tools: { sqfstar: tool("sqfstar"), unsquashfs: tool("unsquashfs") },
    packageOf: (path) => dpkgOwner(path),
  };
}

/** The pieces for Arm, made in `workDir`. Needs npm, apt-get, dpkg-deb and Debian's cross compiler. */
export async function armTarget(workDir: string): Promise<Target> {
  const root = `${workDir}/arm64`;
  await Deno.mkdir(root, { recursive: true });
  const versions = await fetchDebianPackages(workDir, root);
  const { path: deno, version: denoVersion } = await fetchDeno(workDir);
  say(`deno for aarch64: ${NPM_DENO} ${denoVersion}`);
  const multiarch = `${root}/usr/lib/aarch64-linux-gnu`;
  return {
    arch: "aarch64",
    cc: ["aarch64-linux-gnu-gcc", `-I${root}/usr/include`],
    libraries: [`${multiarch}/libzstd.a`],
    archives: ["/usr/aarch64-linux-gnu/lib/libc.a", `${multiarch}/libzstd.a`],
    deno,
    denoVersion,
    loader: `${root}/lib/aarch64-linux-gnu/${LOADERS.aarch64}`,
    libraryDirs: [multiarch, `${root}/lib/aarch64-linux-gnu`],
    tools: { sqfstar: `${root}/usr/bin/mksquashfs`, unsquashfs: `${root}/usr/bin/unsquashfs` },
    async packageOf(path) {
      if (!path.startsWith(root)) return await dpkgOwner(path);
      const owner = versions.find(({ files }) => files.has(path));
      if (owner === undefined) throw new Error(`Cannot tell which package "${path}" is from`);
      return { name: owner.name, version: owner.version };
    },
  };
}

interface Unpacked {
  readonly name: string;
  readonly version: string;
  readonly files: ReadonlySet<string>;
}

async function fetchDebianPackages(workDir: string, root: string): Promise<Unpacked[]> {
  const state = `${workDir}/apt`;
  await Deno.mkdir(`${state}/lists/partial`, { recursive: true });
  await Deno.mkdir(`${state}/archives/partial`, { recursive: true });
  await Deno.mkdir(`${state}/debs`, { recursive: true });
  await Deno.writeTextFile(`${state}/status`, "");
  const options = [
    "APT::Architecture=arm64",
    "APT::Architectures=arm64",
    `Dir::State=${state}`,
    `Dir::State::lists=${state}/lists`,
    `Dir::State::status=${state}/status`,
    `Dir::Cache=${state}`,
    "APT::Sandbox::User=root", // its own user may not write to our directory
    "Acquire::Retries=3",
  ].flatMap((option) => ["-o", option]);
  await succeed(["apt-get", ...options, "-q", "update"]);
  await succeed(["apt-get", ...options, "-q", "download", ...ARM_PACKAGES], { cwd: `${state}/debs` });
  const unpacked: Unpacked[] = [];
  for await (const { name: file } of Deno.readDir(`${state}/debs`)) {
    const deb = `${state}/debs/${file}`;
    const facts = await succeed(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", deb]);
    const [name = "", version = ""] = facts.trim().split(" ");
    const listing = await succeed(["dpkg-deb", "-x", deb, root]).then(() => succeed(["dpkg-deb", "-c", deb]));
    const files = listing.split("\n").map((line) => / \.(\/\S+)/.exec(line)?.[1] ?? "");
    unpacked.push({ name, version, files: new Set(files.map((path) => `${root}${path}`)) });
  }
  return unpacked;
}

async function fetchDeno(workDir: string): Promise<{ path: string; version: string }> {
  // The newest that resolves: a mirror may be behind, and Arm behind x86-64.
  const packed = JSON.parse(await succeed(["npm", "pack", "--json", `${NPM_DENO}@latest`], { cwd: workDir }));
  const { filename, version } = packed[0] as { filename: string; version: string };
  await succeed(["tar", "-xzf", filename], { cwd: workDir });
  return { path: `${workDir}/package/deno`, version };
}

/** dpkg knows files by the path they were packed under, which a merged /usr made a link. */
async function dpkgOwner(path: string): Promise<{ name: string; version: string }> {
  for (const candidate of [path, path.replace(/^\/usr/, ""), await Deno.realPath(path)]) {
    const { success, stdout } = await new Deno.Command("dpkg", { args: ["-S", candidate], stderr: "null" })
      .output();
    const name = /^([^:,\s]+)/.exec(new TextDecoder().decode(stdout))?.[1];
    if (!success || name === undefined) continue;
    const version = await succeed(["dpkg-query", "-W", "-f", "${Version}\n", name]);
    return { name, version: version.split("\n")[0]! };
  }
  throw new Error(`Cannot tell which package "${path}" is from: dpkg does not know it`);
}
