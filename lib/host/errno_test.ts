import assert from "node:assert/strict";
import { needs, privateMounts, ptrace } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { errnoOf, isNoSpace } from "./errno.ts";

async function errorOf(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
}

Deno.test("errnoOf() names what the system calls answered", async (t) => {
  await using dir = await tempDir("errno");
  await Deno.writeTextFile(dir.join("file"), "");
  await Deno.symlink("loop", dir.join("loop"));
  for (
    const [errno, work] of [
      ["ENOENT", () => Deno.open(dir.join("nothing"))],
      ["EEXIST", () => Deno.mkdir(dir.path)],
      ["ENOTDIR", () => Deno.open(dir.join("file", "x"))],
      ["EISDIR", () => Deno.readTextFile(dir.path)],
      ["ENOTEMPTY", () => Deno.remove(dir.path)],
      ["ELOOP", () => Deno.open(dir.join("loop"))],
      ["ENAMETOOLONG", () => Deno.open(dir.join("x".repeat(256)))],
      ["EXDEV", () => Deno.link("/proc/self/status", dir.join("link"))],
      ["ENOSPC", () => Deno.writeTextFile("/dev/full", "x")],
      ["ECONNREFUSED", connectToNobody],
    ] as const
  ) await t.step(errno, async () => assert.equal(errnoOf(await errorOf(work)), errno));
});

async function connectToNobody(): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  (await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port })).close();
}

Deno.test({
  ...needs({ programs: ["strace"], kernel: [ptrace] }),
  name: "errnoOf() names errors that Deno has no class for",
  async fn(t) {
    await using dir = await tempDir("errno");
    await Deno.writeTextFile(dir.join("file"), "");
    const program = `import { errnoOf } from "${import.meta.resolve("./errno.ts")}";
      try { Deno.linkSync(Deno.args[0], Deno.args[0] + "2"); } catch (error) { console.log(errnoOf(error)); }`;
    await Deno.writeTextFile(dir.join("link.ts"), program);
    for (
      const errno of [
        "ESTALE",
        "EDQUOT",
        "EIO",
        "ENOLCK",
        "EOPNOTSUPP",
        "EROFS",
        "EMLINK",
        "ETIMEDOUT",
        "EREMOTEIO",
      ]
    ) {
      await t.step(errno, async () => {
        const inject = ["-f", "-o", "/dev/null", "-e", `inject=?link,linkat:error=${errno}`];
        const deno = [Deno.execPath(), "run", "-A", "--quiet", dir.join("link.ts"), dir.join("file")];
        const { stdout, stderr } = await run(["strace", ...inject, ...deno]);
        assert.equal(stdout, `${errno}\n`, stderr);
      });
    }
  },
});

Deno.test("errnoOf() looks into causes and survives what is no error", () => {
  const inner = new Error("Stale file handle (os error 116)");
  assert.equal(errnoOf(new Error("Cannot read", { cause: new Error("deeper", { cause: inner }) })), "ESTALE");
  assert.equal(errnoOf(new Error("Unheard of (os error 4095)")), "errno 4095");
  assert.equal(errnoOf(Object.assign(new Error(), { code: "ERR_INVALID_ARG" })), undefined);
  for (const thrown of [new Error("plain"), undefined, null, "ENOSPC", { code: "EIO" }]) {
    assert.equal(errnoOf(thrown), undefined);
  }
});

Deno.test("isNoSpace() means space, inodes and quota, nothing else", () => {
  const error = (number: number) => new Error(`x (os error ${number})`);
  assert.deepEqual([28, 122, 5, 27].map((number) => isNoSpace(error(number))), [true, true, false, false]);
});

Deno.test({
  ...needs({ root: true, programs: ["unshare"], kernel: [privateMounts] }),
  name: "isNoSpace() knows a full filesystem and one without inodes",
  async fn(t) {
    await using dir = await tempDir("errno");
    const program = `import { isNoSpace } from "${import.meta.resolve("./errno.ts")}";
      try { for (let i = 0; i < 100; i++) Deno.writeFileSync(Deno.args[0] + "/" + i, new Uint8Array(65536)); }
      catch (error) { console.log(isNoSpace(error), error.message); }`;
    for (const options of ["size=256k", "nr_inodes=20"]) {
      await t.step(options, async () => {
        const script = `mount -t tmpfs -o ${options} tmpfs "$0" && exec "$1" run -A --quiet - "$0"`;
        const argv = ["unshare", "--mount", "sh", "-c", script, dir.path, Deno.execPath()];
        const { stdout, stderr } = await run(argv, { stdin: program });
        assert.match(stdout, /^true /, stderr);
      });
    }
  },
});
