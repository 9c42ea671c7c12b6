import assert from "node:assert/strict";
import { VERSION } from "../../lib/version.ts";
import { needs, privateMounts, ptrace } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../../testdata/portable.ts";
import { run, type RunResult } from "../../testdata/run.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";

const rootNeeds = needs({
  root: true,
  programs: [...BUILD_PROGRAMS, "unshare", "chroot", "setpriv", "prlimit"],
  kernel: [privateMounts],
});
const traceNeeds = needs({ programs: [...BUILD_PROGRAMS, "strace"], kernel: [ptrace] });
const tracedRootNeeds = needs({
  root: true,
  programs: [...BUILD_PROGRAMS, "strace", "unshare", "chroot"],
  kernel: [privateMounts, ptrace],
});
const UID = "8001";
const VERSION_LINE = `davit ${VERSION}\n`;

/** Runs `argv` in a root with /proc, the file as /davit, and no place to unpack to but /cache. */
async function inBareRoot(
  dir: TempDir,
  argv: readonly string[],
  { before = [], mount = "mount -t proc proc" }: {
    /** What enters the root. */
    before?: readonly string[];
    mount?: string;
  } = {},
) {
  const root = dir.join("root");
  await Deno.mkdir(`${root}/proc`, { recursive: true });
  await Deno.copyFile(await portableFile(), `${root}/davit`);
  const script = `${mount} "$0/proc" && exec "$@"`;
  return await run(["unshare", "--mount", "sh", "-c", script, root, ...before, "chroot", root, ...argv], {
    env: { HOME: undefined, XDG_CACHE_HOME: undefined, DAVIT_CACHE: "/cache" },
  });
}

async function namesIn(directory: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => name).sort();
}

Deno.test({
  name: "launcher: refuses to lend its owner's rights",
  ...rootNeeds,
  async fn(t) {
    await using dir = await tempDir("setuid");
    const file = dir.join("davit");
    await Deno.copyFile(await portableFile(), file);
    for (const mode of ["u+s", "g+s,u-s"]) {
      await t.step(mode, async () => {
        await run(["chmod", mode, file]);
        const user = ["setpriv", `--reuid=${UID}`, `--regid=${UID}`, "--clear-groups"];
        const { code, stdout, stderr } = await run([...user, file, "--version"], { env: { HOME: dir.path } });
        assert.deepEqual([code, stdout], [77, ""]);
        assert.equal(
          stderr,
          `davit: cannot start: it is set-user-ID or set-group-ID, which davit must not be: chmod ug-s "${file}"\n`,
        );
      });
    }
    await t.step("root runs it without either", async () => {
      await run(["chmod", "ug-s", file]);
      const env = { DAVIT_CACHE: dir.join("cache") };
      assert.equal((await run([file, "--version"], { env })).stdout, VERSION_LINE);
    });
  },
});

Deno.test({
  name: "launcher: says what it misses where there is no /proc, no memory, no room",
  ...rootNeeds,
  async fn(t) {
    await using dir = await tempDir("missing");
    await t.step("no /proc", async () => {
      const { code, stdout, stderr } = await inBareRoot(dir, ["/davit", "--version"], { mount: "test -d" });
      assert.deepEqual([code, stdout], [69, ""]);
      assert.equal(
        stderr,
        `davit: cannot start: cannot open "/proc/self/exe": No such file or directory; mount /proc\n`,
      );
    });
    await t.step("files of at most 64 KiB, also in memory", async () => {
      const { code, stdout, stderr } = await inBareRoot(dir, ["/davit", "--version"], {
        before: ["prlimit", "--fsize=65536"],
      });
      assert.deepEqual([code, stdout], [71, ""]);
      assert.match(stderr, /^davit: cannot use DAVIT_CACHE: \/cache\/[0-9a-f]{32}: File too large\n/);
      assert.match(
        stderr,
        /\ndavit: cannot start: no directory will do \(.*\), nor memory: File too large\n$/,
      );
      assert.deepEqual(await namesIn(dir.join("root/cache")), []);
    });
    await t.step("six descriptors", async () => {
      const before = ["prlimit", "--nofile=6:6"];
      const mount = 'mkdir -p "$0/cache" && mount -t tmpfs -o noexec none "$0/cache" && mount -t proc proc';
      const { code, stderr } = await inBareRoot(dir, ["/davit", "--version"], { before, mount });
      assert.equal(code, 71);
      assert.match(stderr, /nor memory: Too many open files\n$/);
    });
  },
});

Deno.test({
  name: "launcher: runs under odd host names, hidden processes, and as nobody",
  ...rootNeeds,
  async fn(t) {
    await using dir = await tempDir("odd-host");
    for (const name of ["../../escape", "..", "a b", "x".repeat(63), "é", "a\tb"]) {
      await t.step(`host ${JSON.stringify(name)}`, async () => {
        const script = `printf %s "$0" > /proc/sys/kernel/hostname && exec "$@"`;
        const before = ["unshare", "--uts", "sh", "-c", script, name];
        const { code, stdout, stderr } = await inBareRoot(dir, ["/davit", "--version"], { before });
        assert.deepEqual([code, stdout, stderr], [0, VERSION_LINE, ""]);
        const [content = ""] = await namesIn(dir.join("root/cache"));
        const names = await namesIn(dir.join("root/cache", content));
        assert.ok(
          names.includes(
            `deno.${
              name.replace(/[^\x20-\x7e]|\//g, (char) => "_".repeat(new TextEncoder().encode(char).length))
            }`,
          ),
          names.join(),
        );
        assert.deepEqual(await namesIn(dir.join("root")), [
          "cache",
          "davit",
          "proc",
        ]);
      });
    }
    await t.step("hidepid=2, as a user without a name", async () => {
      const mount = "mount -t proc -o hidepid=2 proc";
      const line = [`--userspec=${UID}:${UID}`, dir.join("root"), "/davit", "--version"];
      const script = `${mount} "$0/proc" && chmod 1777 "$0/tmp" && exec chroot "$@"`;
      await Deno.mkdir(dir.join("root/tmp"));
      const { code, stdout, stderr } = await run([
        "unshare",
        "--mount",
        "sh",
        "-c",
        script,
        dir.join("root"),
        ...line,
      ], {
        env: { HOME: undefined, DAVIT_CACHE: undefined, XDG_CACHE_HOME: undefined },
      });
      assert.deepEqual([code, stdout, stderr], [0, VERSION_LINE, ""]);
      assert.equal((await Deno.stat(dir.join(`root/tmp/davit-${UID}`))).uid, Number(UID));
    });
  },
});

Deno.test({
  name: "launcher: goes on after interrupted calls, and says which failed",
  ...traceNeeds,
  async fn(t) {
    /** Detached from where it becomes the runtime: that one is not under test here. */
    async function traced(dir: TempDir, ...inject: string[]): Promise<RunResult> {
      const calls = "trace=execve,pread64,write,flock,renameat,fdatasync,fchmod";
      const strace = ["strace", "-b", "execve", "-o", dir.join("trace"), "-e", calls];
      const result = await run(
        [...strace, ...inject.flatMap((what) => ["-e", `inject=${what}`]), await portableFile(), "--version"],
        { env: { DAVIT_CACHE: dir.join("cache"), HOME: dir.join("home"), XDG_CACHE_HOME: undefined } },
      );
      const trace = await Deno.readTextFile(dir.join("trace"));
      assert.equal(trace.includes("(INJECTED)"), inject.length > 0);
      return result;
    }

    await t.step("interrupted reads and writes", async () => {
      await using dir = await tempDir("interrupted");
      const { code, stdout, stderr } = await traced(
        dir,
        "pread64:error=EINTR:when=1..99+2",
        "write:error=EINTR:when=1..99+3",
      );
      assert.deepEqual([code, stdout, stderr], [0, VERSION_LINE, ""]);
    });
    await t.step("a file that cannot be read", async () => {
      await using dir = await tempDir("unreadable");
      const { code, stdout, stderr } = await traced(dir, "pread64:error=EIO:when=9");
      assert.deepEqual([code, stdout], [71, ""]);
      assert.match(stderr, /^davit: cannot start: cannot read ".*": Input\/output error\n$/);
      assert.deepEqual((await traced(dir)).stdout, VERSION_LINE);
    });
    for (
      const [call, error] of [["fdatasync", "EIO"], ["fchmod", "EPERM"], ["renameat", "EROFS"], [
        "write",
        "ENOSPC",
      ]]
    ) {
      await t.step(`${call} says ${error}: the next place is taken`, async () => {
        await using dir = await tempDir("failing");
        await Deno.mkdir(dir.join("home"));
        const { code, stdout, stderr } = await traced(dir, `${call}:error=${error}:when=1`);
        assert.deepEqual([code, stdout], [0, VERSION_LINE]);
        assert.match(stderr, /^davit: cannot use DAVIT_CACHE: [^\n]+\n$/);
        assert.deepEqual(await namesIn(dir.join("cache")), []);
        assert.equal((await namesIn(dir.join("home/.cache/davit"))).length, 1);
      });
    }
    await t.step("without locks", async () => {
      await using dir = await tempDir("lockless");
      const { code, stdout, stderr } = await traced(dir, "flock:error=ENOLCK");
      assert.deepEqual([code, stdout, stderr], [0, VERSION_LINE, ""]);
    });
  },
});

Deno.test({
  name: "launcher: says that neither a directory nor memory will do, where the kernel has no memfd",
  ...tracedRootNeeds,
  async fn(t) {
    await using dir = await tempDir("no-memfd");
    const mount = 'mkdir -p "$0/cache" && mount -t tmpfs -o noexec none "$0/cache" && mount -t proc proc';
    for (
      const [error, words] of [["ENOSYS", "Function not implemented"], ["EPERM", "Operation not permitted"]]
    ) {
      await t.step(error!, async () => {
        const before = ["strace", "-f", "-o", dir.join("trace"), "-e", `inject=memfd_create:error=${error}`];
        const { code, stdout, stderr } = await inBareRoot(dir, ["/davit", "--version"], { before, mount });
        assert.deepEqual([code, stdout], [71, ""]);
        assert.match(
          stderr,
          new RegExp(`no directory will do \\(.*/cache: mounted noexec.*\\), nor memory: ${words}\n$`),
        );
      });
    }
    await t.step("a kernel that does not know MFD_EXEC", async () => {
      const before = [
        "strace",
        "-f",
        "-o",
        dir.join("trace"),
        "-e",
        "inject=memfd_create:error=EINVAL:when=1..30+2",
      ];
      const { code, stdout, stderr } = await inBareRoot(dir, ["/davit", "--version"], { before, mount });
      assert.deepEqual([code, stdout], [0, VERSION_LINE]);
      assert.match(stderr, /running from memory, which costs \d+ MB/);
    });
  },
});
