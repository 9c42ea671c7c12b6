import assert from "node:assert/strict";
import { assertFinding, examineWith, lineOf } from "../../testdata/doctor.ts";
import { fuse, needs, ptrace } from "../../testdata/needs.ts";
import { davitArgv, davitEnv, run, start, startDavit } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { examine } from "./doctor.ts";
import type { Log } from "./log.ts";

/** A log that keeps what is said. */
function keepingLog(): Log & { readonly said: string[] } {
  const said: string[] = [];
  const keep = (message: string) => void said.push(message);
  return { error: keep, warn: keep, info: keep, debug: keep, said };
}

/** Looks again and again until `holds`, for half a minute. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 30_000;
  while (!await holds()) {
    assert.ok(performance.now() < end, "it did not come to that in half a minute");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const surroundings = { directory: "/tmp", env: {}, bundledTool: () => undefined };
const never = new AbortController().signal;

Deno.test({
  name: "doctor: a dead file server costs its lines, and neither time nor the end",
  ...needs({
    root: true,
    programs: ["sshfs", "fusermount3", "/usr/lib/openssh/sftp-server"],
    kernel: [fuse],
  }),
  async fn() {
    await using dir = await tempDir("doctor");
    await Deno.mkdir(dir.join("shared"));
    await Deno.mkdir(dir.join("mount"));
    const script = `#!/bin/sh\necho $$ > ${dir.join("pid")}\nexec /usr/lib/openssh/sftp-server\n`;
    await Deno.writeTextFile(dir.join("ssh"), script, { mode: 0o755 });
    const mounted = await run(
      ["sshfs", `there:${dir.join("shared")}`, dir.join("mount"), "-o", `ssh_command=${dir.join("ssh")}`],
    );
    assert.equal(mounted.code, 0, mounted.stderr);
    const server = Number(await Deno.readTextFile(dir.join("pid")));
    // Its requests are with the server by then: what waits for them cannot even be killed.
    Deno.kill(server, "SIGSTOP");
    try {
      const below = dir.join("mount", "below");
      // deno looks along PATH for a program called node, before any code of davit's.
      await Deno.writeTextFile(dir.join("node"), "", { mode: 0o755 });
      const env = { PATH: `${dir.path}:${Deno.env.get("PATH")}:${below}` };
      const line = await examineWith({ directory: below, env });
      const silent = [line("flock"), line("disk", below), line("gpu")];
      for (const finding of silent) assertFinding(finding, "degraded", /no answer after 5 s/);
      for (const other of [line("disk", "/"), line("rpc-dir", "/var/tmp"), line("cgroup")]) {
        assert.doesNotMatch(other.detail, /no answer/);
      }
    } finally {
      Deno.kill(server, "SIGCONT");
      assert.equal((await run(["fusermount3", "-u", "-z", dir.join("mount")])).code, 0);
    }
  },
});

Deno.test({
  name: "doctor: interrupted, it removes what it made and says so",
  ...needs({ programs: ["strace"], kernel: [ptrace] }),
  async fn() {
    await using dir = await tempDir("doctor");
    // Its lock file is there, and each lock takes long: long enough to be interrupted.
    const slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e"];
    const wrap = [...slow, "inject=flock:delay_enter=1500000"];
    const argv = [...wrap, ...davitArgv(["doctor", "--probe", "--json", "--dir", dir.path])];
    await using live = start(argv, { env: davitEnv() });
    await live.waitFor(/"ready":true/);
    await until(async () => (await Array.fromAsync(Deno.readDir(dir.path))).length > 0);
    live.kill("SIGTERM", { group: true });
    const { code, stderr } = await live.done;
    assert.equal(code, 143, stderr);
    assert.match(stderr, /Interrupted by SIGTERM/);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(dir.path)), []);
  },
});

Deno.test("doctor: interrupted, it takes the process that looks with it", async () => {
  await using dir = await tempDir("doctor");
  const program = dir.join("nvidia-smi");
  await Deno.writeTextFile(program, `#!/bin/sh\necho $PPID > ${dir.join("pid")}\nexec sleep 1000\n`, {
    mode: 0o755,
  });
  const env = { PATH: `${dir.path}:${Deno.env.get("PATH")}` };
  await using live = startDavit(["doctor", "--dir", dir.path], { env });
  let looker = 0;
  await until(async () => {
    looker = Number(await Deno.readTextFile(dir.join("pid")).catch(() => "0"));
    return looker > 0;
  });
  live.kill("SIGINT");
  const { code, stdout, stderr } = await live.done;
  assert.equal(code, 130, stderr);
  assert.equal(stdout, "");
  assert.throws(() => Deno.kill(looker, "SIGCONT"), Deno.errors.NotFound);
});

Deno.test("examine() makes the checks itself where it cannot start a process", async () => {
  const log = keepingLog();
  const start = () => ({ argv: ["/nonexistent/davit"] as [string], env: {} });
  const line = lineOf(await examine(surroundings, { start, signal: never, log }));
  assert.match(log.said.join(), /no process of its own/);
  assert.match(line("squashfs-tools").detail, /not on PATH/);
  assert.doesNotMatch(line("flock").detail, /no answer/);
});

Deno.test("examine() says how a process that looks ended, and keeps what it had found", async () => {
  const finding = JSON.stringify({ index: 0, finding: { state: "ok", detail: "found before" } });
  const script =
    `echo '{"ready":true}'; echo '${finding}'; echo '{"index":1,"fin'; echo oops >&2; kill -KILL $$`;
  const start = () => ({ argv: ["sh", "-c", script] as [string, ...string[]], env: {} });
  const report = await examine(surroundings, { start, signal: never, log: keepingLog() });
  const line = lineOf(report);
  assertFinding(line("flock"), "ok", /found before/);
  assertFinding(line("gpu"), "degraded", /ended early: SIGKILL: oops/);
  assert.equal(report.state, "degraded");
});

Deno.test({
  name: "examine() waits neither for a process that is silent nor for its grandchildren",
  // It leaves behind what it must not wait for.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const script = `echo '{"ready":true}'; trap '' TERM; sleep 30`;
    const start = () => ({ argv: ["sh", "-c", script] as [string, ...string[]], env: {} });
    const options = { start, deadlineMs: 200, signal: never, log: keepingLog() };
    const line = lineOf(await examine(surroundings, options));
    assertFinding(line("flock"), "degraded", /no answer after 0\.2 s/);
  },
});
