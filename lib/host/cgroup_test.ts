import assert from "node:assert/strict";
import { type TempDir, tempDir } from "../../testdata/temp.ts";
import { mountLine, writeTree } from "../../testdata/written_tree.ts";
import { Failure } from "../failure.ts";
import { locateCgroup } from "./cgroup.ts";

const PID = 4711;
const V1_ROWS = "12:pids:PATH\n11:cpu,cpuacct:PATH\n4:memory:PATH\n1:name=systemd:/user.slice\n";

/** A machine: what the process reads of itself, the mounts (text in which $ is the tree's root) and the cgroups. */
interface Machine {
  readonly rows?: string;
  readonly mounts?:
    readonly (readonly [mountPoint: string, fsType: string, root?: string, options?: string])[];
  /** Directories of cgroups; the process is in those that end in "!". */
  readonly cgroups: readonly string[];
  readonly files?: Readonly<Record<string, string>>;
  /** It runs in a cgroup namespace of its own. */
  readonly isNamespaced?: boolean;
}

async function write(dir: TempDir, { rows, mounts, cgroups, files = {}, isNamespaced = false }: Machine) {
  const mountinfo = mounts?.map(([mountPoint, fsType, root = "/", options = "rw"]) =>
    mountLine(`${dir.path}${mountPoint}`, fsType, { root, options })
  ).join("");
  await writeTree(dir.path, {
    "proc/self/ns/": "",
    ...rows !== undefined && { "proc/self/cgroup": rows },
    ...mountinfo !== undefined && { "proc/self/mountinfo": mountLine("/", "ext4") + mountinfo },
    ...Object.fromEntries(cgroups.map((path) => {
      const name = path.replace(/!$/, "").slice(1);
      return [`${name}/cgroup.procs`, path.endsWith("!") ? `1\n${PID}\n99\n` : `1${PID}\n`];
    })),
    ...files,
  });
  const inode = isNamespaced ? 4026532284 : 4026531835;
  await Deno.symlink(`cgroup:[${inode}]`, dir.join("proc/self/ns/cgroup"));
}

/** What was found, with the tree's root as "$": `path version verified`, then each controller's directory. */
function found(dir: TempDir, cgroup?: string): string[] {
  const location = locateCgroup({
    proc: dir.join("proc"),
    cgroupRoot: dir.join("sys/fs/cgroup"),
    pid: PID,
    cgroup: cgroup?.replace("$", dir.path),
  });
  const { path, version, isVerified, isNamespaced, areAncestorsVisible, dirs } = location;
  const words = [
    version,
    path ?? "-",
    isVerified ? "verified" : "unverified",
    ...isNamespaced ? ["namespaced"] : [],
    ...areAncestorsVisible ? [] : ["hidden"],
  ];
  return [
    words.join(" "),
    ...Object.entries(dirs).map(([name, { path, version, isRoot }]) =>
      `${name} v${version} ${path.replace(dir.path, "$")}${isRoot ? " root" : ""}`
    ),
  ];
}

const all = (version: 1 | 2, path: string, suffix = "") =>
  ["memory", "cpu", "pids"].map((name) => `${name} v${version} ${path}${suffix}`);

const v1Mounts = (root = "/") =>
  [
    ["/sys/fs/cgroup/systemd", "cgroup", root, "rw,name=systemd"],
    ["/sys/fs/cgroup/cpu,cpuacct", "cgroup", root, "rw,cpu,cpuacct"],
    ["/sys/fs/cgroup/memory", "cgroup", root, "rw,memory"],
    ["/sys/fs/cgroup/pids", "cgroup", root, "rw,pids"],
  ] as const;
const v1Dirs = (below: string, suffix = "") => [
  `memory v1 $/sys/fs/cgroup/memory${below}${suffix}`,
  `cpu v1 $/sys/fs/cgroup/cpu,cpuacct${below}${suffix}`,
  `pids v1 $/sys/fs/cgroup/pids${below}${suffix}`,
];
const v1Cgroups = (below: string) =>
  ["memory", "cpu,cpuacct", "pids"].map((name) => `/sys/fs/cgroup/${name}${below}`);

const MACHINES: Record<string, Machine & { readonly cgroup?: string; readonly expected: readonly string[] }> =
  {
    "v2 on a host": {
      rows: "0::/user.slice/session-3.scope\n",
      mounts: [["/sys/fs/cgroup", "cgroup2"]],
      cgroups: ["/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/session-3.scope!"],
      expected: [
        "v2 /user.slice/session-3.scope verified",
        ...all(2, "$/sys/fs/cgroup/user.slice/session-3.scope"),
      ],
    },
    "v2 at the root of the machine": {
      rows: "0::/\n",
      mounts: [["/sys/fs/cgroup", "cgroup2"]],
      cgroups: ["/sys/fs/cgroup!"],
      expected: ["v2 / verified", ...all(2, "$/sys/fs/cgroup", " root")],
    },
    "v2 in a namespace of its own": {
      rows: "0::/\n",
      mounts: [["/sys/fs/cgroup", "cgroup2"]],
      cgroups: ["/sys/fs/cgroup!"],
      isNamespaced: true,
      expected: ["v2 / verified namespaced hidden", ...all(2, "$/sys/fs/cgroup")],
    },
    "v2, outside of the namespace: /../": {
      rows: "0::/../sibling\n",
      mounts: [["/sys/fs/cgroup", "cgroup2", "/.."]],
      cgroups: ["/sys/fs/cgroup"],
      isNamespaced: true,
      expected: ["v2 /../sibling unverified namespaced hidden", ...all(2, "$/sys/fs/cgroup")],
    },
    "v2, a mount from before the namespace": {
      rows: "0::/\n",
      mounts: [["/sys/fs/cgroup", "cgroup2", "/../.."]],
      cgroups: ["/sys/fs/cgroup"],
      isNamespaced: true,
      expected: ["v2 / unverified namespaced hidden", ...all(2, "$/sys/fs/cgroup")],
    },
    "v2 in a container with the host's namespace, bind-mounted": {
      rows: "0::/docker/f5fb\n",
      mounts: [["/sys/fs/cgroup", "cgroup2", "/docker/f5fb"]],
      cgroups: ["/sys/fs/cgroup!"],
      expected: ["v2 /docker/f5fb verified hidden", ...all(2, "$/sys/fs/cgroup")],
    },
    "v2 bind-mounted, below the mount's root": {
      rows: "0::/docker/f5fb/inner/deep\n",
      mounts: [["/sys/fs/cgroup", "cgroup2", "/docker/f5fb"]],
      cgroups: ["/sys/fs/cgroup/inner/deep!"],
      expected: ["v2 /docker/f5fb/inner/deep verified hidden", ...all(2, "$/sys/fs/cgroup/inner/deep")],
    },
    "v2 bind-mounted, of another whose name begins alike": {
      rows: "0::/docker/f5fb99\n",
      mounts: [["/sys/fs/cgroup", "cgroup2", "/docker/f5fb"]],
      cgroups: ["/sys/fs/cgroup"],
      expected: ["v2 /docker/f5fb99 unverified hidden", ...all(2, "$/sys/fs/cgroup")],
    },
    "v2 in two views, of which one shows the ancestors": {
      rows: "0::/docker/f5fb\n",
      mounts: [["/sys/fs/cgroup", "cgroup2", "/docker/f5fb"], ["/host/cgroup", "cgroup2", "/"]],
      cgroups: ["/sys/fs/cgroup!", "/host/cgroup", "/host/cgroup/docker/f5fb!"],
      expected: ["v2 /docker/f5fb verified", ...all(2, "$/host/cgroup/docker/f5fb")],
    },
    "v2, the process is not where its row says": {
      rows: "0::/a\n",
      mounts: [["/sys/fs/cgroup", "cgroup2"]],
      cgroups: ["/sys/fs/cgroup", "/sys/fs/cgroup/a"],
      expected: ["v2 /a unverified", ...all(2, "$/sys/fs/cgroup/a")],
    },
    "v2, a mount point and a path with spaces and a colon": {
      rows: "0::/a:b c\n",
      mounts: [["/sys/fs/c group", "cgroup2"]],
      cgroups: ["/sys/fs/c group/a:b c!"],
      expected: ["v2 /a:b c verified", ...all(2, "$/sys/fs/c group/a:b c")],
    },
    "v2 beside systemd's named v1 hierarchy, which counts for nothing": {
      rows: "1:name=systemd:/init.scope\n0::/init.scope\n",
      mounts: [["/sys/fs/cgroup/systemd", "cgroup", "/", "rw,xattr,name=systemd"], [
        "/sys/fs/cgroup/unified",
        "cgroup2",
      ]],
      cgroups: ["/sys/fs/cgroup/systemd/init.scope!", "/sys/fs/cgroup/unified/init.scope!"],
      expected: ["v2 /init.scope verified", ...all(2, "$/sys/fs/cgroup/unified/init.scope")],
    },
    "v1 on a host": {
      rows: V1_ROWS.replaceAll("PATH", "/slurm/uid_0/job_7"),
      mounts: v1Mounts(),
      cgroups: v1Cgroups("/slurm/uid_0/job_7!"),
      expected: ["v1 /slurm/uid_0/job_7 verified", ...v1Dirs("/slurm/uid_0/job_7")],
    },
    "v1 in a Kubernetes container, bind-mounted": {
      rows: V1_ROWS.replaceAll("PATH", "/kubepods/pod1/c1"),
      mounts: v1Mounts("/kubepods/pod1/c1"),
      cgroups: v1Cgroups("!"),
      expected: ["v1 /kubepods/pod1/c1 verified hidden", ...v1Dirs("")],
    },
    "v1, each controller elsewhere": {
      rows: "8:pids:/\n4:memory:/job\n1:cpu,cpuacct:/x\n",
      mounts: v1Mounts(),
      cgroups: [
        "/sys/fs/cgroup/pids!",
        "/sys/fs/cgroup/memory/job!",
        "/sys/fs/cgroup/cpu,cpuacct/x!",
      ],
      expected: [
        "v1 /job verified",
        "memory v1 $/sys/fs/cgroup/memory/job",
        "cpu v1 $/sys/fs/cgroup/cpu,cpuacct/x",
        "pids v1 $/sys/fs/cgroup/pids root",
      ],
    },
    "hybrid: memory on v1, the rest on v2": {
      rows: "4:memory:/job\n0::/scope\n",
      mounts: [["/sys/fs/cgroup/memory", "cgroup", "/", "rw,memory"], ["/sys/fs/cgroup/unified", "cgroup2"]],
      cgroups: ["/sys/fs/cgroup/memory/job!", "/sys/fs/cgroup/unified/scope!"],
      expected: [
        "hybrid /job verified",
        "memory v1 $/sys/fs/cgroup/memory/job",
        "cpu v2 $/sys/fs/cgroup/unified/scope",
        "pids v2 $/sys/fs/cgroup/unified/scope",
      ],
    },
    "no mountinfo, v2": {
      rows: "0::/a\n",
      cgroups: ["/sys/fs/cgroup", "/sys/fs/cgroup/a!"],
      files: { "sys/fs/cgroup/cgroup.controllers": "memory pids\n" },
      expected: ["v2 /a verified", ...all(2, "$/sys/fs/cgroup/a")],
    },
    "no mountinfo, v1": {
      rows: V1_ROWS.replaceAll("PATH", "/a"),
      cgroups: v1Cgroups("/a!"),
      expected: ["v1 /a verified", ...v1Dirs("/a")],
    },
    "no /proc/self/cgroup": {
      mounts: [["/sys/fs/cgroup", "cgroup2"]],
      cgroups: ["/sys/fs/cgroup!"],
      expected: ["v2 / verified", ...all(2, "$/sys/fs/cgroup", " root")],
    },
    "nothing at all": { cgroups: [], expected: ["none / unverified hidden"] },
    "lines that make no sense": {
      rows: "garbage\n::\n5:memory\n:memory:/x\n\n0::/a\n",
      mounts: [["/sys/fs/cgroup", "cgroup2"]],
      cgroups: ["/sys/fs/cgroup/a!"],
      expected: ["v2 /a verified", ...all(2, "$/sys/fs/cgroup/a")],
    },
    "given as a directory": {
      rows: "0::/own\n",
      mounts: [["/sys/fs/cgroup", "cgroup2"]],
      cgroups: ["/sys/fs/cgroup/own!", "/sys/fs/cgroup/pod/sibling"],
      cgroup: "$/sys/fs/cgroup/pod/sibling/",
      expected: ["v2 /pod/sibling verified", ...all(2, "$/sys/fs/cgroup/pod/sibling")],
    },
    "given as the kernel's path, on v1": {
      rows: V1_ROWS.replaceAll("PATH", "/own"),
      mounts: v1Mounts(),
      cgroups: [...v1Cgroups("/own!"), ...v1Cgroups("/other")],
      cgroup: "/other",
      expected: ["v1 /other verified", ...v1Dirs("/other")],
    },
    "given as one v1 directory: the others have the same path": {
      rows: V1_ROWS.replaceAll("PATH", "/own"),
      mounts: v1Mounts(),
      cgroups: [...v1Cgroups("/own!"), ...v1Cgroups("/other")],
      cgroup: "$/sys/fs/cgroup/memory/other",
      expected: ["v1 /other verified", ...v1Dirs("/other")],
    },
  };

Deno.test("locateCgroup() finds the process's cgroup", async (t) => {
  for (const [name, { expected, cgroup, ...machine }] of Object.entries(MACHINES)) {
    await t.step(name, async () => {
      await using dir = await tempDir("cgroup");
      await write(dir, machine);
      assert.deepEqual(found(dir, cgroup), expected);
    });
  }
});

Deno.test("locateCgroup() fails for a given cgroup that is not there", async () => {
  await using dir = await tempDir("cgroup");
  await write(dir, {
    rows: "0::/own\n",
    mounts: [["/sys/fs/cgroup", "cgroup2"]],
    cgroups: ["/sys/fs/cgroup/own!"],
  });
  for (const given of ["/nowhere", "$/sys/fs/cgroup/nowhere", "relative", ""]) {
    assert.throws(
      () => found(dir, given),
      (error) => error instanceof Failure && error.code === "no_cgroup" && error.exitStatus === 66,
      given,
    );
  }
});
