import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { run, type RunResult } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { DEFAULT_SETUP } from "./spec_setup.ts";

/** Runs the packaged script in a root of its own that has a busybox shell and these package managers. */
async function runIn(
  managers: Readonly<Record<string, string>>,
  { sshd = false } = {},
): Promise<RunResult & { calls: string }> {
  await using root = await tempDir("setup");
  for (const name of ["bin", "dev", "usr/sbin"]) await Deno.mkdir(root.join(name), { recursive: true });
  await Deno.writeTextFile(root.join("dev/null"), ""); // a file will do
  await Deno.copyFile("/bin/busybox", root.join("bin/busybox"));
  for (const applet of ["sh", "echo", "chmod"]) await Deno.symlink("busybox", root.join("bin", applet));
  const programs = { ...managers, ...sshd && { "../usr/sbin/sshd": "" } };
  for (const [name, body] of Object.entries(programs)) {
    // What stands for a package manager notes its call and installs what the body says.
    const text = `#!/bin/sh\necho "${name} $*" >> /calls\n${body}\n`;
    await Deno.writeTextFile(root.join("bin", name), text, { mode: 0o755 });
  }
  await Deno.writeTextFile(root.join("setup"), DEFAULT_SETUP, { mode: 0o755 });
  await Deno.writeTextFile(root.join("calls"), "");
  const result = await run(["chroot", root.path, "/setup"], {
    env: { PATH: "/bin:/sbin:/usr/bin:/usr/sbin" },
  });
  return { ...result, calls: await Deno.readTextFile(root.join("calls")) };
}

const INSTALL = 'case "$*" in *install*|*add*) echo > /usr/sbin/sshd; chmod 755 /usr/sbin/sshd ;; esac';

Deno.test({
  name: "the packaged setup script installs openssh-server where it is missing, by what the image has",
  ...needs({ root: true, programs: ["chroot", "/bin/busybox"] }),
  async fn(t) {
    await t.step("there already: nothing is called, so that it may run again", async () => {
      const { code, stdout, calls } = await runIn({ "apt-get": INSTALL }, { sshd: true });
      assert.deepEqual([code, stdout, calls], [0, "sshd is there\n", ""]);
    });
    for (
      const [manager, called] of [
        ["apt-get", "apt-get update\napt-get install -y --no-install-recommends openssh-server\n"],
        ["dnf", "dnf install -y openssh-server\n"],
        ["microdnf", "microdnf install -y openssh-server\n"],
        ["zypper", "zypper --non-interactive install openssh-server\n"],
        ["apk", "apk add --no-cache openssh-server\n"],
      ] as const
    ) {
      await t.step(manager, async () => {
        const { code, calls, stderr } = await runIn({ [manager]: INSTALL });
        assert.deepEqual([code, calls], [0, called], stderr);
      });
    }
    await t.step("no package manager", async () => {
      const { code, stderr } = await runIn({});
      assert.equal(code, 1);
      assert.match(stderr, /use an image with openssh-server, or setup_script/);
    });
    await t.step("one that fails, and one that says it worked", async () => {
      assert.equal((await runIn({ "apt-get": "exit 100" })).code, 100);
      const { code, stderr } = await runIn({ dnf: "exit 0" });
      assert.equal(code, 1);
      assert.match(stderr, /but there is no sshd/);
    });
  },
});

Deno.test({
  name: "the packaged setup script passes shellcheck",
  ...needs({ programs: ["shellcheck"] }),
  async fn() {
    const { code, stdout } = await run(["shellcheck", "-"], { stdin: DEFAULT_SETUP });
    assert.equal(code, 0, stdout);
  },
});
