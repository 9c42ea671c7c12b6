import assert from "node:assert/strict";
import { treeOf } from "../../testdata/busybox_machine.ts";
import { needs, privateMounts, ptrace } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../../testdata/portable.ts";
import { davitEnv, run } from "../../testdata/run.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";
import { importArguments, startTourRegistry } from "../../testdata/tour.ts";

const TRACED = needs({ programs: [...BUILD_PROGRAMS, "strace"], kernel: [ptrace] });
const OFFLINE = needs({
  root: true,
  programs: [...BUILD_PROGRAMS, "unshare"],
  kernel: [privateMounts],
});
const CHANGING = [
  ...["open", "openat", "openat2", "creat", "mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat"],
  ...["renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "truncate"],
  ...["chmod", "fchmodat", "chown", "fchownat", "lchown", "setxattr", "lsetxattr", "utimensat"],
];
const NETWORK = ["socket", "connect", "bind", "sendto", "sendmsg", "sendmmsg"];
/** A file that `davit doctor` makes in the directories it tells about, to see whether it can. */
const DOCTORS_FILE = /\/\.davit-doctor\.tmp\.[^/]+$/;

/** An image to check, in a directory of the test's own; what davit unpacks goes to `cache` there. */
async function withImage(dir: TempDir): Promise<Record<string, readonly string[]>> {
  await using registry = await startTourRegistry();
  const argv = [
    await portableFile(),
    ...importArguments(registry, dir.join("image.sqsh"), dir.join("layers")),
  ];
  const { code, stderr } = await run(argv, { env: davitEnv({ DAVIT_CACHE: dir.join("cache") }) });
  assert.equal(code, 0, stderr);
  return {
    "--version": ["--version"],
    "--help": ["image", "import", "--help"],
    "config show": ["config", "show"],
    "self": ["self"],
    "doctor": ["doctor", "--dir", dir.join("asked")],
    "image check": ["image", "check", dir.join("image.sqsh"), "--deep"],
  };
}

/** The calls among `names` that davit and its children made: all that were tried, whatever came of them. */
async function callsOf(args: readonly string[], names: readonly string[], dir: TempDir): Promise<string[]> {
  const trace = dir.join("trace");
  const strace = ["strace", "-f", "-qq", "-s", "4096", "-e", "signal=none", "-o", trace];
  // Some names are not calls of every architecture.
  const line = [
    ...strace,
    "-e",
    `trace=${names.map((name) => `?${name}`).join(",")}`,
    "--",
    await portableFile(),
  ];
  const env = davitEnv({ DAVIT_CACHE: dir.join("cache"), TMPDIR: dir.join("tmp") });
  const { code, stderr } = await run([...line, ...args], { env, cwd: dir.join("asked") });
  assert.equal(code, 0, stderr);
  const lines = (await Deno.readTextFile(trace)).split("\n").map((text) => text.replace(/^\d+ +/, ""));
  return lines.filter((text) => /^\w+\(/.test(text));
}

Deno.test({
  ...TRACED,
  name: "the portable file writes nothing but its cache and what the command was asked for",
  async fn(t) {
    await using dir = await tempDir("quiet");
    for (const name of ["asked", "tmp"]) await Deno.mkdir(dir.join(name));
    for (const [name, args] of Object.entries(await withImage(dir))) {
      for (const cacheIs of ["new", "there"]) {
        await t.step(`${name}, the cache is ${cacheIs}`, async () => {
          if (cacheIs === "new") await Deno.remove(dir.join("cache"), { recursive: true });
          const before = await treeOf(dir.path, / (?:cache|trace)\b/);
          const changes = (await callsOf(args, CHANGING, dir)).filter((call) =>
            (!/^open/.test(call) || /O_WRONLY|O_RDWR|O_CREAT/.test(call)) && !/ = -1 EEXIST /.test(call)
          );
          const paths = changes.flatMap((call) =>
            [...call.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, path]) => path!)
          );
          const elsewhere = paths.filter((path) =>
            !path.startsWith(dir.join("cache")) && path !== "/dev/null" && path.startsWith("/") &&
            !(name === "doctor" && DOCTORS_FILE.test(path))
          );
          assert.deepEqual(elsewhere, []);
          // The others are the launcher's, below the directory that it opened.
          const relative = paths.filter((path) => !path.startsWith("/"));
          assert.deepEqual(relative.filter((path) => !/^(?:\.new\.)?[\w.+-]+$/.test(path)), []);
          assert.equal(relative.length > 0, cacheIs === "new");
          assert.deepEqual(await treeOf(dir.path, / (?:cache|trace)\b/), before);
        });
      }
    }
  },
});

Deno.test({
  ...TRACED,
  name: "the portable file opens no connection but to the sockets of this host that doctor asks about",
  async fn(t) {
    await using dir = await tempDir("quiet");
    for (const name of ["asked", "tmp"]) await Deno.mkdir(dir.join(name));
    for (const [name, args] of Object.entries(await withImage(dir))) {
      await t.step(name, async () => {
        const calls = await callsOf(args, NETWORK, dir);
        const outward = calls.filter((call) => !/AF_UNIX/.test(call));
        assert.deepEqual(outward, []);
        if (name !== "doctor") assert.deepEqual(calls, []);
      });
    }
  },
});

Deno.test({
  ...OFFLINE,
  name: "the portable file needs no network, not even loopback",
  async fn(t) {
    await using dir = await tempDir("quiet");
    for (const name of ["asked", "tmp"]) await Deno.mkdir(dir.join(name));
    for (const [name, args] of Object.entries(await withImage(dir))) {
      await t.step(name, async () => {
        await Deno.remove(dir.join("cache"), { recursive: true });
        const env = davitEnv({ DAVIT_CACHE: dir.join("cache") });
        const { code, stderr } = await run(["unshare", "--net", await portableFile(), ...args], { env });
        assert.deepEqual([code, stderr], [0, ""]);
      });
    }
  },
});
