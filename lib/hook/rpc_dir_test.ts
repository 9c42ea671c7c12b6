import assert from "node:assert/strict";
import "../../testdata/open_libc.ts";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { type TempDir, tempDir } from "../../testdata/temp.ts";
import { silent } from "../host/log.ts";
import { RpcDir, rpcDirCandidates } from "./rpc_dir.ts";

function use(rpcDir: RpcDir): string | undefined {
  const file = rpcDir.openFile();
  file?.writer.close();
  file?.reader.close();
  return file?.directory;
}

async function withDirs(work: (rpcDir: RpcDir, dir: TempDir) => void | Promise<void>): Promise<void> {
  await using dir = await tempDir("rpc");
  await Deno.mkdir(dir.join("tmp"));
  const candidates = [dir.join("tmp/rpc"), dir.join("other")];
  await work(new RpcDir({ candidates, log: silent }), dir);
}

const modeOf = (path: string) => (Deno.lstatSync(path).mode ?? 0) & 0o7777;

Deno.test("RpcDir makes a directory that is ours alone, and files without names in it", async () => {
  await withDirs((rpcDir, dir) => {
    const file = rpcDir.openFile()!;
    assert.equal(rpcDir.path, dir.join("tmp/rpc"));
    assert.equal(modeOf(rpcDir.path), 0o700);
    assert.deepEqual([...Deno.readDirSync(rpcDir.path)], []);
    file.writer.writeSync(new TextEncoder().encode("kept"));
    Deno.removeSync(dir.join("tmp"), { recursive: true });
    const bytes = new Uint8Array(10);
    assert.equal(file.reader.readSync(bytes), 4);
    file.writer.close();
    file.reader.close();
  });
});

Deno.test("RpcDir makes it again when it was removed, and says so once", async (t) => {
  await withDirs(async (rpcDir, dir) => {
    use(rpcDir);
    assert.deepEqual(rpcDir.takeNotices(), []);
    for (const removed of ["tmp/rpc", "tmp"]) {
      await t.step(removed, async () => {
        await Deno.remove(dir.join(removed), { recursive: true });
        rpcDir.check();
        const [notice, ...more] = rpcDir.takeNotices();
        assert.equal(
          notice,
          `container ${dir.join("tmp")} was cleared by the job; recreated ${
            dir.join("tmp/rpc")
          }, no output lost`,
        );
        assert.deepEqual(more, []);
        rpcDir.check();
        assert.equal(use(rpcDir), dir.join("tmp/rpc"));
        assert.deepEqual(rpcDir.takeNotices(), []);
      });
    }
    assert.equal(rpcDir.wipes, 2);
  });
});

Deno.test("RpcDir mends a changed mode", async () => {
  await withDirs(async (rpcDir) => {
    use(rpcDir);
    for (const mode of [0o000, 0o777]) {
      await Deno.chmod(rpcDir.path, mode);
      assert.equal(use(rpcDir), rpcDir.path);
      assert.equal(modeOf(rpcDir.path), 0o700);
      assert.deepEqual(rpcDir.takeNotices(), [`mode of ${rpcDir.path} was changed by the job; changed back`]);
    }
  });
});

Deno.test("RpcDir takes the next candidate where something else is in the way, and says why", async (t) => {
  for (
    const [name, plant, why] of [
      ["a file", (path: string) => Deno.writeTextFile(path, ""), "it is no directory"],
      ["a link to a directory", (path: string) => Deno.symlink("/etc", path), "it is a symbolic link"],
      ["a dangling link", (path: string) => Deno.symlink("/nowhere", path), "it is a symbolic link"],
    ] as [string, (path: string) => Promise<void>, string][]
  ) {
    await t.step(name, async () => {
      await withDirs(async (rpcDir, dir) => {
        await plant(dir.join("tmp/rpc"));
        assert.equal(use(rpcDir), dir.join("other"));
        const said = `cannot keep output in ${dir.join("tmp/rpc")}: ${why}; using ${dir.join("other")}`;
        assert.deepEqual(rpcDir.takeNotices(), [`${said}, no output lost`]);
        use(rpcDir);
        assert.deepEqual(rpcDir.takeNotices(), []);
        await Deno.remove(dir.join("tmp/rpc"));
        assert.equal(use(rpcDir), dir.join("tmp/rpc"));
        assert.deepEqual(rpcDir.takeNotices(), [`output is kept in ${dir.join("tmp/rpc")} again`]);
      });
    });
  }
  await t.step("its parent is a file", async () => {
    await withDirs(async (rpcDir, dir) => {
      await Deno.remove(dir.join("tmp"));
      await Deno.writeTextFile(dir.join("tmp"), "");
      assert.equal(use(rpcDir), dir.join("other"));
      assert.match(rpcDir.takeNotices().join(), /its parent is no directory/);
    });
  });
  await t.step("all of them", async () => {
    await withDirs(async (rpcDir, dir) => {
      await Deno.writeTextFile(dir.join("tmp/rpc"), "");
      await Deno.writeTextFile(dir.join("other"), "");
      assert.equal(use(rpcDir), undefined);
      assert.equal(rpcDir.path, "");
      assert.match(rpcDir.takeNotices().join(), /using memory, no output lost$/);
    });
  });
});

Deno.test({
  ...needs({ root: true }),
  name: "RpcDir does not use another user's directory",
  fn: async () => {
    await withDirs(async (rpcDir, dir) => {
      await Deno.mkdir(dir.join("tmp/rpc"), { mode: 0o777 });
      await Deno.chown(dir.join("tmp/rpc"), 8001, 8001);
      assert.equal(use(rpcDir), dir.join("other"));
      assert.match(rpcDir.takeNotices().join(), /it belongs to user 8001; using/);
    });
  },
});

Deno.test({
  ...needs({ root: true, kernel: [privateMounts] }),
  name: "RpcDir passes over a filesystem that is full",
  fn: async () => {
    await withDirs(async (rpcDir, dir) => {
      const mount = (...args: string[]) => new Deno.Command("mount", { args }).outputSync().success;
      assert.ok(mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", dir.join("tmp")));
      assert.equal(use(rpcDir), dir.join("tmp/rpc"));
      await Deno.writeFile(dir.join("tmp/full"), new Uint8Array(1_500_000));
      assert.equal(use(rpcDir), dir.join("other"));
      assert.match(rpcDir.takeNotices().join(), /no space is left; using/);
    });
  },
});

Deno.test("rpcDirCandidates() begins with what was asked for", () => {
  assert.equal(rpcDirCandidates(undefined, "/")[0], "/tmp/rpc-logs");
  assert.deepEqual([rpcDirCandidates("/x", "/h").at(0), rpcDirCandidates("/x", "/h").at(-1)], [
    "/x",
    "/h/.davit-rpc-logs",
  ]);
});
