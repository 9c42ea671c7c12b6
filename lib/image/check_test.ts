import assert from "node:assert/strict";
import { davit, davitArgv, davitEnv, run } from "../../testdata/run.ts";
import { needs } from "../../testdata/needs.ts";
import { must } from "../../testdata/real_registry.ts";
import { tempDir } from "../../testdata/temp.ts";
import { checkImage, type CheckOptions } from "./check.ts";

const quiet = { signal: new AbortController().signal };
const tools = { programs: ["mksquashfs", "unsquashfs"] };

/** An image of many small files and one large one whose bytes do not compress, like enroot's with -noD. */
async function makeImage(dir: string): Promise<string> {
  await must([
    "sh",
    "-eu",
    "-c",
    `
    mkdir -p "$0/tree"; cd "$0"
    head -c 20000000 /dev/urandom > tree/large
    for i in $(seq 1 3000); do echo "file number $i" > tree/f$i; done
    mksquashfs tree image.sqsh -comp lzo -noD -no-progress >/dev/null
    rm -r tree`,
    dir,
  ]);
  return `${dir}/image.sqsh`;
}

async function overwrite(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  using file = await Deno.open(path, { write: true });
  await file.seek(offset, Deno.SeekMode.Start);
  assert.equal(await file.write(bytes), bytes.length);
}

async function u64At(path: string, offset: number): Promise<number> {
  const bytes = await Deno.readFile(path);
  return Number(new DataView(bytes.buffer).getBigUint64(offset, true));
}

async function listing(directory: string): Promise<string[]> {
  const names = (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => name).sort();
  const infos = await Promise.all(names.map((name) => Deno.lstat(`${directory}/${name}`)));
  return infos.map(({ size, ino, mtime, mode }, i) =>
    `${names[i]} ${size} ${ino} ${mtime?.getTime()} ${mode}`
  );
}

interface Damage {
  name: string;
  damage: (path: string, size: number) => Promise<unknown> | unknown;
  fast: RegExp | "valid" | "warns";
  deep: "valid" | "invalid";
}

// The rows of the study's damage table; `unsquashfs -l` is what "deep" adds.
const DAMAGES: Damage[] = [
  { name: "none", damage: () => {}, fast: "valid", deep: "valid" },
  {
    name: "only padding cut",
    damage: async (path) => Deno.truncate(path, await u64At(path, 40)),
    fast: "warns",
    deep: "valid",
  },
  {
    name: "last byte of bytes_used cut",
    damage: async (path) => Deno.truncate(path, await u64At(path, 40) - 1),
    fast: /truncated/,
    deep: "invalid",
  },
  {
    name: "metadata cut",
    damage: async (path) => Deno.truncate(path, await u64At(path, 64) + 100),
    fast: /truncated/,
    deep: "invalid",
  },
  {
    name: "half cut",
    damage: (path, size) => Deno.truncate(path, size >> 1),
    fast: /truncated/,
    deep: "invalid",
  },
  {
    name: "second half zero",
    damage: (path, size) => overwrite(path, size >> 1, new Uint8Array(size - (size >> 1))),
    fast: /id table/,
    deep: "invalid",
  },
  {
    name: "hole in the data",
    damage: (path) => overwrite(path, 1 << 20, new Uint8Array(5 << 20)),
    fast: "valid",
    deep: "valid",
  },
  {
    name: "one block of data random",
    damage: (path) => overwrite(path, 1 << 20, crypto.getRandomValues(new Uint8Array(4096))),
    fast: "valid",
    deep: "valid",
  },
  {
    name: "zeros in the inode table",
    damage: async (path) => overwrite(path, await u64At(path, 64) + 2, new Uint8Array(4096)),
    fast: "valid",
    deep: "invalid",
  },
  {
    name: "zeros in the export table",
    damage: async (path) => overwrite(path, await u64At(path, 88) - 2000, new Uint8Array(1990)),
    fast: "valid",
    deep: "valid",
  },
  {
    name: "superblock zero",
    damage: (path) => overwrite(path, 0, new Uint8Array(96)),
    fast: /writer was killed/,
    deep: "invalid",
  },
  {
    name: "junk appended",
    damage: async (path) => {
      using file = await Deno.open(path, { append: true });
      await file.write(crypto.getRandomValues(new Uint8Array(50_000)));
    },
    fast: "warns",
    deep: "valid",
  },
  { name: "empty", damage: (path) => Deno.truncate(path, 0), fast: /0 bytes/, deep: "invalid" },
];

Deno.test({
  name: "checkImage() gives each damage the verdict it deserves",
  ...needs(tools),
  async fn(t) {
    await using dir = await tempDir("check");
    const good = await makeImage(dir.path);
    const sha256 = (await must(["sha256sum", good])).slice(0, 64);
    for (const { name, damage, fast, deep } of DAMAGES) {
      await t.step(name, async () => {
        const path = dir.join("damaged.sqsh");
        await Deno.copyFile(good, path);
        await damage(path, (await Deno.stat(good)).size);
        const verdict = await checkImage(path, { ...quiet, level: "fast" });
        if (fast instanceof RegExp) {
          assert.equal(verdict.state, "invalid");
          assert.match((verdict as { reason: string }).reason, fast);
        } else {
          assert.equal(verdict.state, "valid");
          assert.equal(
            (verdict as { warnings: readonly string[] }).warnings.length,
            fast === "warns" ? 1 : 0,
          );
        }
        assert.equal((await checkImage(path, { ...quiet, level: "deep" })).state, deep);
        const whole = await checkImage(path, { ...quiet, level: "deep", sha256 });
        assert.equal(whole.state, name === "none" ? "valid" : "invalid");
      });
    }
  },
});

Deno.test({
  name: "checkImage() believes no random damage that a hash would refuse",
  ...needs(tools),
  async fn() {
    await using dir = await tempDir("check");
    const good = await makeImage(dir.path);
    const sha256 = (await must(["sha256sum", good])).slice(0, 64);
    for (let round = 0; round < 20; round++) {
      const path = dir.join("damaged.sqsh");
      await Deno.copyFile(good, path);
      const { size } = await Deno.stat(good);
      await overwrite(
        path,
        Math.floor(Math.random() * (size - 8)),
        crypto.getRandomValues(new Uint8Array(8)),
      );
      const verdict = await checkImage(path, { ...quiet, level: "fast", sha256 });
      assert.equal(verdict.state, "invalid");
    }
  },
});

Deno.test({
  name: "image check: each verdict has its exit status, and nothing is changed",
  ...needs(tools),
  async fn(t) {
    await using dir = await tempDir("check");
    const good = await makeImage(dir.path);
    const bad = dir.join("bad.sqsh");
    await Deno.copyFile(good, bad);
    await Deno.truncate(bad, 1_000_000);
    await Deno.mkdir(dir.join("directory"));
    await must(["mkfifo", dir.join("fifo")]);
    const rows: [string[], number, RegExp][] = [
      [[good], 0, /^valid: .*lzo/],
      [[good, "--deep"], 0, /^valid/],
      [[good, "--quiet"], 0, /^$/],
      [[bad], 65, /truncated/],
      [[bad, "--json"], 65, /"code":"invalid_image"/],
      [[dir.join("none.sqsh")], 66, /no such file/],
      [[dir.join("directory")], 65, /a directory/],
      [[dir.join("fifo")], 65, /not a regular file/],
      [[good, "--full"], 75, /nothing says what its SHA-256/],
      [[good, "--sha256", "0".repeat(64)], 65, /wanted 0000/],
      [[good, "--sha256", "abc"], 64, /64 hexadecimal/],
    ];
    for (const [args, code, says] of rows) {
      await t.step(args.slice(1).join(" ") || args[0]!.slice(dir.path.length), async () => {
        const before = await listing(dir.path);
        const ended = await davit(["image", "check", ...args]);
        assert.equal(ended.code, code, ended.stderr);
        assert.match(ended.stdout + ended.stderr, says);
        assert.deepEqual(await listing(dir.path), before);
      });
    }
    await t.step("a missing unsquashfs cannot tell", async () => {
      const ended = await davit(["image", "check", "--deep", good], { env: { PATH: "/nonexistent" } });
      assert.equal(ended.code, 75);
      assert.match(ended.stderr, /squashfs-tools/);
    });
  },
});

Deno.test({
  name: "image check: a disk that cannot be read proves nothing",
  ...needs({ programs: ["strace", "mksquashfs", "unsquashfs"] }),
  async fn(t) {
    await using dir = await tempDir("check");
    const good = await makeImage(dir.path);
    for (const errno of ["EIO", "ESTALE", "EACCES", "ETIMEDOUT", "ELOOP"]) {
      await t.step(errno, async () => {
        const ended = await run(
          ["strace", "-f", "-qq", "-o", "/dev/null", "-P", good, "-e", `inject=openat:error=${errno}`].concat(
            davitArgv(["image", "check", good, "--json"]),
          ),
          { env: davitEnv() },
        );
        assert.equal(ended.code, 75, ended.stderr);
        assert.match(ended.stderr, /"code":"cannot_tell"/);
        assert.ok(ended.stderr.includes(errno));
      });
    }
  },
});

Deno.test({
  name: "checkImage() stops when told to",
  ...needs(tools),
  async fn() {
    await using dir = await tempDir("check");
    const good = await makeImage(dir.path);
    const options: CheckOptions = {
      level: "full",
      sha256: "0".repeat(64),
      signal: AbortSignal.abort(new Error("enough")),
    };
    await assert.rejects(checkImage(good, options), /enough/);
  },
});
