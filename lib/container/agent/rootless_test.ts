import assert from "node:assert/strict";
import { endOfPodman, ENGINE_PROGRAMS, PODMAN_CONF } from "../../../testdata/engines.ts";
import { findProgram, type KernelFeature, needs, privateMounts } from "../../../testdata/needs.ts";
import { otherUsers } from "../../../testdata/other_user.ts";
import { run } from "../../../testdata/run.ts";
import { busyboxTar, HOST_PROGRAMS } from "../../../testdata/runtime_host.ts";
import { removeTree, tempDir } from "../../../testdata/temp.ts";

const UID = 1234;

const userNamespaces: KernelFeature = {
  name: "user namespaces",
  works: () =>
    new Deno.Command("unshare", { args: ["--user", "true"], stdin: "null", stderr: "null" }).outputSync()
      .success,
};

Deno.test({
  ...needs({
    root: true,
    programs: [...ENGINE_PROGRAMS.podman, ...HOST_PROGRAMS, "newuidmap", "unshare", "setpriv", "pgrep"],
    kernel: [privateMounts, userNamespaces],
  }),
  name: "a user's own podman is used without root or sudo, and its execs end for certain",
  async fn() {
    await using dir = await tempDir("rootless");
    await using users = await otherUsers();
    const tar = await busyboxTar(dir);
    // podman refuses a run directory whose path is longer than 50 bytes: there are sockets below it.
    const runtimeDir = await Deno.makeTempDir({ dir: "/tmp", prefix: "davit-" });
    for (const path of [dir.join("home"), dir.join("bin")]) await Deno.mkdir(path);
    for (const path of [dir.join("home"), runtimeDir]) await Deno.chown(path, UID, UID);
    await Deno.writeTextFile(dir.join("containers.conf"), PODMAN_CONF);
    const stores = `--root ${dir.join("home/root")} --runroot ${runtimeDir}/run --tmpdir ${runtimeDir}/tmp`;
    const wrapper = `#!/bin/sh\nexec ${findProgram("podman")} ${stores} --storage-driver vfs "$@"\n`;
    await Deno.writeTextFile(dir.join("bin/podman"), wrapper, { mode: 0o755 });
    await Deno.writeTextFile(dir.join("ids"), "tester:100000:65536\n");
    const passwd = await Deno.readTextFile("/etc/passwd");
    await Deno.writeTextFile(
      dir.join("passwd"),
      `tester:x:${UID}:${UID}::${dir.join("home")}:/bin/sh\n${passwd}`,
    );
    const env = {
      HOME: dir.join("home"),
      XDG_RUNTIME_DIR: runtimeDir,
      CONTAINERS_CONF: dir.join("containers.conf"),
      PATH: `${dir.join("bin")}:${Deno.env.get("PATH")}`,
    };
    const mounts = [["ids", "/etc/subuid"], ["ids", "/etc/subgid"], ["passwd", "/etc/passwd"]]
      .map(([from, to]) => `mount --bind "${dir.join(from!)}" ${to}`).join("; ");
    const inside = (...argv: string[]) =>
      run(["unshare", "-m", "sh", "-euc", `${mounts}; cd /; exec "$@"`, "sh", ...argv], { env });
    const asUser = (...argv: string[]) =>
      inside(
        "setpriv",
        `--reuid=${UID}`,
        `--regid=${UID}`,
        "--clear-groups",
        dir.join("bin/podman"),
        ...argv,
      );
    const imported = await asUser("import", tar, "localhost/own:1");
    assert.equal(imported.code, 0, imported.stderr);
    const made = await asUser(
      "run",
      "--detach",
      "--name=own",
      "--network=host",
      "localhost/own:1",
      "sleep",
      "3001",
    );
    assert.equal(made.code, 0, made.stderr);
    try {
      const id = made.stdout.trim();
      const target = { runtime: "podman", sudo: "auto", name: "own" };
      const exec = (argv: string[], more = {}) => [
        "exec",
        { ...target, id, argv, env: { LINES: "a\nb" }, tty: false, stdin: false, graceMs: 200, ...more },
      ];
      // Of the user, of another user of the container, and without the mark in its environment.
      const stubborn = "trap '' TERM; setsid sleep 3002 & env -i sleep 3003 & su user -c 'sleep 3004'";
      const calls = [["facts", target], exec(["nope"]), exec(["sh", "-c", stubborn], { timeoutMs: 4_000 })];
      const { code, stdout, stderr } = await inside(
        ...users.argv(UID, "testdata/host_calls.ts", [JSON.stringify({ env, calls })]),
      );
      assert.equal(code, 0, stderr);
      const [facts, missing, timed] = JSON.parse(stdout);
      assert.deepEqual([facts.kind, facts.container.id, facts.container.status], ["known", id, "running"]);
      assert.equal(missing.code, 127);
      assert.equal(timed.timedOut, true);
      assert.equal((await run(["pgrep", "-fx", "sleep 300[234]"])).stdout, "");
    } finally {
      const removed = await asUser("rm", "--force", "--time=0", "own");
      assert.equal(removed.code, 0, removed.stderr);
      await endOfPodman(dir.path);
      // The process that keeps the user's namespaces.
      const pause = Number(await Deno.readTextFile(`${runtimeDir}/tmp/pause.pid`).catch(() => "0"));
      if (pause > 0) Deno.kill(pause, "SIGKILL");
      await removeTree(runtimeDir);
    }
  },
});
