import assert from "node:assert/strict";
import { jobServer } from "../testdata/hook_jobs.ts";
import { needs, privateMounts } from "../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../testdata/portable.ts";
import { inRoot, makeRoot, ROOT_PROGRAMS } from "../testdata/roots.ts";
import { davitArgv, davitEnv, run } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";

const inRoots = {
  root: true,
  programs: [...ROOT_PROGRAMS, ...BUILD_PROGRAMS],
  kernel: [privateMounts],
} as const;

Deno.test({
  ...needs(inRoots),
  name: "hook serve: runs steps in an image without a shell, and where nothing can be written",
  fn: async (t) => {
    await using dir = await tempDir("bare");
    const root = await makeRoot("bare", dir.join("root"), await portableFile());
    for (
      const [name, setup, directory] of [
        ["nothing but the file", "", "/tmp/rpc-logs"],
        ["a root that is read-only", 'mount --rbind "$1" "$1"; mount -o remount,ro,bind "$1"', ""],
      ] as const
    ) {
      await t.step(name, async () => {
        await using server = await jobServer({ program: inRoot(root, ["/davit"], { setup }) });
        const { result, stdout, stderr } = await server.run({ argv: ["/davit", "--version"] });
        assert.match(stdout, /^davit \d+\.\d+\.\d+\n$/);
        assert.deepEqual([stderr, result.code, result.rpc_dir], ["", 0, directory]);
        const missing = await server.run({ script: "/no.sh" });
        assert.deepEqual([missing.result.cause, missing.result.code], ["spawn_failed", 127]);
        assert.match(missing.notices.join("\n"), /^cannot start "sh": there is no such program/m);
      });
    }
  },
});

Deno.test({
  ...needs({ ...inRoots, programs: [...inRoots.programs, "setpriv"] }),
  name: "hook serve: runs steps as another user with /tmp noexec on a read-only root",
  fn: async () => {
    await using dir = await tempDir("busybox");
    const root = await makeRoot("busybox", dir.join("root"), await portableFile());
    const setup = 'mount --rbind "$1" "$1"; mount -o remount,ro,bind "$1"\n' +
      'mount -t tmpfs -o noexec,mode=1777 tmpfs "$1/tmp"';
    await using server = await jobServer({
      program: inRoot(root, ["/davit"], { setup, uid: 8001, env: { PATH: "/bin" } }),
    });
    const text = "#!/bin/sh\\nfalse; echo by what it names: $0\\n";
    const made = await server.sh(
      `printf '${text}' >/tmp/s; busybox chmod 755 /tmp/s; /tmp/s 2>/dev/null || echo noexec`,
    );
    assert.deepEqual([made.stdout, made.result.rpc_dir], ["noexec\n", "/tmp/rpc-logs"], made.stderr);
    const { stdout, result } = await server.run({ script: "/tmp/s" });
    assert.deepEqual([stdout, result.code], ["by what it names: /tmp/s\n", 0]);
    const status = await server.sh("while read line; do echo $line; done </proc/self/status");
    assert.match(status.stdout, /^Uid: 8001 8001 8001 8001$/m);
  },
});

Deno.test({
  ...needs({ root: true, programs: ["unshare", "nsenter", "ip"], kernel: [privateMounts] }),
  name: "hook serve: listens where one family of addresses is missing, and on both where both are there",
  fn: async (t) => {
    for (
      const [name, setup, works, fails] of [
        ["both", "", ["127.0.0.1", "[::1]"], []],
        ["no IPv6", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6", ["127.0.0.1"], ["[::1]"]],
        ["no IPv4", "ip address del 127.0.0.1/8 dev lo", ["[::1]"], ["127.0.0.1"]],
        ["IPv6 sockets without IPv4", "echo 1 >/proc/sys/net/ipv6/bindv6only", ["127.0.0.1", "[::1]"], []],
      ] as const
    ) {
      await t.step(name, async () => {
        await using server = await jobServer({
          listen: ":0",
          unshare: ["--net"],
          prepare: `ip link set lo up; ${setup}`,
        });
        const port = server.address.split(":").at(-1)!;
        for (const host of [...works, ...fails]) {
          const inside = ["nsenter", "-t", String(server.process.pid), "-n", "sh", "-c", 'exec "$@" 2>&1'];
          const args = ["hook", "exec", "--server", `${host}:${port}`, "--token-file", "/proc/self/fd/0"];
          const end = await run([...inside, "sh", ...davitArgv([...args, "--", "sh", "-c", "exit 3"])], {
            env: davitEnv(),
            stdin: server.token,
          });
          assert.equal(end.code, works.includes(host as never) ? 3 : 69, `${host}: ${end.stdout}`);
        }
      });
    }
  },
});

Deno.test({
  ...needs({ root: true, programs: ["unshare", "mount"], kernel: [privateMounts] }),
  name: "hook serve: as process 1 it waits for every orphan, ends its job and then itself",
  fn: async () => {
    await using server = await jobServer({ unshare: ["--pid", "--fork", "--kill-child", "--mount-proc"] });
    const childrenOf = async (pid: number) =>
      (await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`)).split(" ").filter(Boolean).map(Number);
    const [inside] = await childrenOf(server.process.pid);
    assert.equal((await server.status()).pid, 1);
    const { result, notices } = await server.sh("for i in $(seq 200); do (setsid true &); done; exit 3");
    assert.deepEqual([result.code, result.fault], [3, "script"], notices.join());
    for (const deadline = performance.now() + 60_000; (await childrenOf(inside!)).length > 0;) {
      assert.ok(performance.now() < deadline, `${await childrenOf(inside!)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const { id } = await server.start({
      argv: ["sh", "-c", "trap 'exit 9' TERM; echo ready; sleep 1000 & wait"],
    });
    while ((await server.status()).job?.last_seq === 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const outcome = server.follow(id);
    Deno.kill(inside!, "SIGTERM");
    assert.deepEqual((await outcome).result.code, 9);
    assert.equal((await server.process.done).code, 143);
  },
});
