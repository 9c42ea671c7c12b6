import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { silent } from "./log.ts";
import { createTemp, removeDeadTemps, tempName } from "./temp_files.ts";

const DAY_MS = 86_400_000;
const HERE = new URL("./temp_files.ts", import.meta.url).href;

async function names(path: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name).sort();
}

/** A live process that holds a temp file in `path` until killed, and says its name. */
async function startHolder(path: string): Promise<{ child: Deno.ChildProcess; name: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `import { createTemp } from ${JSON.stringify(HERE)};
      const temp = await createTemp(${JSON.stringify(path)}, "held");
      console.log(temp.path.split("/").pop());
      setInterval(() => {}, 1000);`,
    ],
    stdout: "piped",
    stdin: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return { child, name: new TextDecoder().decode(value).trim() };
}

Deno.test("createTemp() removes its file when disposed, but not after a rename", async () => {
  await using dir = await tempDir("temps");
  {
    await using temp = await createTemp(dir.path, "a");
    assert.deepEqual(await names(dir.path), [temp.path.split("/").pop()]);
    assert.match(temp.path, /\/\.a\.tmp\.[0-9a-f]{8}\.\d+\.[0-9a-f]{8}$/);
  }
  assert.deepEqual(await names(dir.path), []);
  {
    await using temp = await createTemp(dir.path, "a");
    await temp.file.write(new TextEncoder().encode("kept"));
    await Deno.rename(temp.path, dir.join("a"));
  }
  assert.equal(await Deno.readTextFile(dir.join("a")), "kept");
});

Deno.test("createTemp() says which file it cannot make", async () => {
  await using dir = await tempDir("temps");
  await assert.rejects(createTemp(dir.join("absent"), "a"), { name: "Failure", code: "cannot_write" });
});

Deno.test("removeDeadTemps() spares the living, then takes what kill -9 left", async () => {
  await using dir = await tempDir("temps");
  const { child, name } = await startHolder(dir.path);
  try {
    await using own = await createTemp(dir.path, "own");
    // Even far in the future a held file is alive.
    await removeDeadTemps(dir.path, ".", { graceMs: -DAY_MS, log: silent });
    assert.deepEqual(await names(dir.path), [name, own.path.split("/").pop()].sort());
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
  await removeDeadTemps(dir.path, ".other.", { graceMs: DAY_MS, log: silent });
  assert.deepEqual(await names(dir.path), [name]);
  await removeDeadTemps(dir.path, ".held.", { graceMs: DAY_MS, log: silent });
  assert.deepEqual(await names(dir.path), []);
});

Deno.test("removeDeadTemps() judges other boots by the lock, or by age where locks end at the node, and leaves all other names alone", async () => {
  await using dir = await tempDir("temps");
  // Of an earlier process that had our id, as in containers: nobody holds it.
  const mine = await tempName("mine");
  const old = new Date(Date.now() - 2 * DAY_MS);
  const others = [".a.tmp.xyz", ".a.old.1234567890123.01234567", "a.tmp.00000001.1.01234567", "plain"];
  for (const name of [...others, mine, ".a.tmp.00000001.1.0123abcd", ".b.tmp.00000001.1.0123abcd"]) {
    await Deno.writeTextFile(dir.join(name), "");
  }
  for (const name of [...others, ".b.tmp.00000001.1.0123abcd"]) await Deno.utime(dir.join(name), old, old);
  await Deno.mkdir(dir.join(".d.tmp.00000001.1.0123abcd"));
  // A mount table by which the directory is on NFS without locks.
  await Deno.mkdir(dir.join("proc", "self", "ns"), { recursive: true });
  await Deno.symlink(await Deno.readLink("/proc/self/ns/pid"), dir.join("proc", "self", "ns", "pid"));
  await Deno.mkdir(dir.join("proc", "sys", "kernel", "random"), { recursive: true });
  const boot = "/proc/sys/kernel/random/boot_id";
  await Deno.writeTextFile(
    dir.join("proc", "sys", "kernel", "random", "boot_id"),
    await Deno.readTextFile(boot),
  );
  const line = `1 2 0:1 / ${dir.path} rw - nfs server:/x rw,nolock`;
  await Deno.writeTextFile(dir.join("proc", "self", "mountinfo"), `${line}\n`);
  await removeDeadTemps(dir.path, ".", { graceMs: DAY_MS, log: silent, proc: dir.join("proc") });
  await Deno.remove(dir.join("proc"), { recursive: true });
  assert.deepEqual(
    await names(dir.path),
    [...others, ".a.tmp.00000001.1.0123abcd", ".d.tmp.00000001.1.0123abcd"].sort(),
  );
});

Deno.test("removeDeadTemps() believes a lock of another boot, and a free one too, on a filesystem of this host", async () => {
  await using dir = await tempDir("temps");
  for (const name of [".a.tmp.00000001.1.0123abcd", ".b.tmp.00000001.1.0123abcd"]) {
    await Deno.writeTextFile(dir.join(name), "");
  }
  using living = await Deno.open(dir.join(".b.tmp.00000001.1.0123abcd"), { read: true, write: true });
  await living.lock(true);
  await removeDeadTemps(dir.path, ".", { graceMs: DAY_MS, log: silent });
  assert.deepEqual(await names(dir.path), [".b.tmp.00000001.1.0123abcd"]);
});

Deno.test("a process without a boot id never matches another's", async () => {
  await using dir = await tempDir("temps");
  const name = await tempName("a", { proc: dir.path });
  assert.match(name, /^\.a\.tmp\.00000000\./);
});

Deno.test({
  name: "removeDeadTemps() does not take a process of another namespace for a dead one",
  ...needs({ root: true, programs: ["unshare"] }),
  async fn() {
    await using dir = await tempDir("temps");
    const name = await tempName("a");
    const { stdout } = await run(["unshare", "-pf", "--mount-proc", "readlink", "/proc/self/ns/pid"]);
    assert.notEqual(stdout.trim(), await Deno.readLink("/proc/self/ns/pid"));
    await Deno.mkdir(dir.join("proc", "self", "ns"), { recursive: true });
    await Deno.mkdir(dir.join("proc", "sys", "kernel", "random"), { recursive: true });
    const boot = "sys/kernel/random/boot_id";
    await Deno.writeTextFile(dir.join("proc", boot), await Deno.readTextFile(`/proc/${boot}`));
    await Deno.symlink(stdout.trim(), dir.join("proc", "self", "ns", "pid"));
    assert.notEqual((await tempName("a", { proc: dir.join("proc") })).slice(0, 15), name.slice(0, 15));
  },
});
