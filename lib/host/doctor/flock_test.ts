import assert from "node:assert/strict";
import { assertFinding, examineWith, injecting, look } from "../../../testdata/doctor.ts";
import { fuse, needs, privateMounts, ptrace } from "../../../testdata/needs.ts";
import { run, start } from "../../../testdata/run.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { flockCheck } from "./flock.ts";

const root = { root: true, programs: ["unshare"], kernel: [privateMounts] } as const;

Deno.test("doctor: flock says how far a lock reaches, by what is mounted", async (t) => {
  await using dir = await tempDir("doctor");
  const shared = dir.join("shared");
  await Deno.mkdir(shared);
  const proc = dir.join("proc");
  await Deno.mkdir(`${proc}/self`, { recursive: true });
  const rows = [
    ["ext4", "rw", "ok", /refused the second time; reaches this host/],
    ["nfs4", "rw,vers=4.2,hard,local_lock=none", "ok", /reaches all hosts/],
    ["nfs", "rw,vers=3,nolock,local_lock=all", "degraded", /this mount only: NFS is mounted with nolock/],
    ["nfs4", "rw,vers=4.2,soft,local_lock=none", "degraded", /all hosts.*soft/],
    ["lustre", "rw,flock", "ok", /all hosts/],
    ["lustre", "rw,localflock", "degraded", /this mount only/],
    ["lustre", "rw", "degraded", /not known: Lustre does not say/],
    ["fuse.sshfs", "rw", "degraded", /this mount only: sshfs/],
    ["overlay", "rw", "degraded", /container's or node's own layer/],
    ["9p", "rw", "degraded", /not known/],
  ] as const;
  for (const [fsType, options, state, detail] of rows) {
    await t.step(`${fsType} ${options}`, async () => {
      const line = `36 35 98:0 / ${shared} rw shared:1 - ${fsType} server:/export ${options}\n`;
      await Deno.writeTextFile(`${proc}/self/mountinfo`, line);
      assertFinding(await look(flockCheck(shared, { proc })), state, detail);
    });
  }
  await t.step("no mount is known", async () => {
    await Deno.writeTextFile(`${proc}/self/mountinfo`, "");
    assertFinding(await look(flockCheck(shared, { proc })), "degraded", /does not tell the mount/);
    await Deno.remove(`${proc}/self/mountinfo`);
    assertFinding(await look(flockCheck(shared, { proc })), "degraded", /does not tell the mount/);
  });
  assert.deepEqual(await Array.fromAsync(Deno.readDir(shared)), [], "nothing is left");
});

Deno.test({
  name: "doctor: flock that is refused, or lets two in",
  ...needs({ programs: ["strace"], kernel: [ptrace] }),
  async fn(t) {
    await using dir = await tempDir("doctor");
    const rows = [
      ["error=ENOLCK", /flock is refused: ENOLCK/],
      ["error=EOPNOTSUPP", /flock is refused: EOPNOTSUPP/],
      ["retval=0", /two holders had one lock/],
    ] as const;
    for (const [injection, detail] of rows) {
      await t.step(injection, async () => {
        const wrap = injecting("trace=flock", `inject=flock:${injection}`);
        const line = await examineWith({ wrap, directory: dir.path });
        assertFinding(line("flock"), "missing", detail);
        assert.match(line("flock").cost!, /each import it/);
      });
    }
    assert.deepEqual(await Array.fromAsync(Deno.readDir(dir.path)), []);
  },
});

Deno.test({
  name: "doctor: flock where no file can be made, and on an overlay",
  ...needs(root),
  async fn(t) {
    await using dir = await tempDir("doctor");
    const rows = [
      ["mount -t tmpfs -o ro tmpfs $1", "missing", /read-only \(EROFS\)/],
      ["mount -t tmpfs -o nr_inodes=1 tmpfs $1", "missing", /full \(ENOSPC\)/],
      ["mount -t tmpfs tmpfs $1", "ok", /reaches this host: tmpfs/],
      [
        "mount -t tmpfs tmpfs $1; cd $1; mkdir l u w; mount -t overlay -o lowerdir=l,upperdir=u,workdir=w o $1",
        "degraded",
        /own layer/,
      ],
    ] as const;
    for (const [mounts, state, detail] of rows) {
      await t.step(mounts, async () => {
        assertFinding((await examineWith({ mounts, directory: dir.path }))("flock"), state, detail);
      });
    }
    await t.step("no such directory", async () => {
      const line = await examineWith({ directory: dir.join("nothing") });
      assertFinding(line("flock"), "missing", /ENOENT/);
    });
  },
});

Deno.test({
  name: "doctor: flock on two sshfs mounts of one directory",
  ...needs({
    root: true,
    programs: ["sshfs", "fusermount3", "/usr/lib/openssh/sftp-server"],
    kernel: [fuse],
  }),
  async fn() {
    await using dir = await tempDir("doctor");
    await Deno.writeTextFile(dir.join("ssh"), "#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n", {
      mode: 0o755,
    });
    await Deno.mkdir(dir.join("shared"));
    for (const name of ["one", "two"]) {
      await Deno.mkdir(dir.join(name));
      const argv = ["sshfs", `there:${dir.join("shared")}`, dir.join(name), "-o"];
      assert.equal((await run([...argv, `ssh_command=${dir.join("ssh")}`])).code, 0);
    }
    // What the report says is true: a lock held through one mount is free through the other.
    await Deno.writeTextFile(dir.join("shared", "x"), "");
    await using holder = start(["flock", dir.join("one", "x"), "sh", "-c", "echo held; exec sleep 60"]);
    await holder.waitFor(/held/);
    assert.equal((await run(["flock", "-n", dir.join("two", "x"), "true"])).code, 0);
    for (const name of ["one", "two"]) {
      const line = await examineWith({ directory: dir.join(name) });
      assertFinding(line("flock"), "degraded", /reaches this mount only: sshfs/);
    }
    holder.kill("SIGKILL", { group: true });
    await holder.done;
    for (const name of ["one", "two"]) {
      assert.equal((await run(["fusermount3", "-u", dir.join(name)])).code, 0);
    }
  },
});
