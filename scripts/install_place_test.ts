import assert from "node:assert/strict";
import {
  DOWNLOADERS,
  FILE_NAME,
  INSTALL_PROGRAMS,
  INSTALL_SH,
  installEnv,
  oldInstallation,
  serveRelease,
  SHELLS,
  standIn,
  sumsOf,
  toolbox,
} from "../testdata/install_sh.ts";
import { needs, privateMounts } from "../testdata/needs.ts";
import { run } from "../testdata/run.ts";

const installable = needs({ programs: INSTALL_PROGRAMS });
const mountable = needs({
  root: true,
  programs: [...INSTALL_PROGRAMS, "unshare", "setpriv"],
  kernel: [privateMounts],
});
const OTHER_UID = 8001;

/** In mounts of its own, with an empty tmpfs of these `options` on /usr/local/bin; $0 is the script. */
function inMounts(options: string, commands: string, ...args: string[]): string[] {
  const shell = `mount -t tmpfs -o ${options} tmpfs /usr/local/bin; ${commands}`;
  return ["unshare", "-m", "sh", "-uc", shell, INSTALL_SH, ...args];
}

const AS_OTHER = `setpriv --reuid=${OTHER_UID} --regid=${OTHER_UID} --clear-groups`;
const SHOW = `ls -A /usr/local/bin; /usr/local/bin/davit --version`;

Deno.test({
  ...mountable,
  name: "install.sh goes to /usr/local/bin, or to ~/.local/bin, or says that it can do neither",
  async fn(t) {
    await using server = await serveRelease("1.2.3");
    for (const shell of SHELLS) {
      const sh = shell.join(" ");
      await t.step(`${sh}: root`, async () => {
        const env = installEnv({ DAVIT_BASE_URL: server.url });
        const { stdout, stderr } = await run(inMounts("mode=755", `${sh} "$0"; ${SHOW}`), { env });
        assert.equal(stderr, "");
        const said = "davit: installed davit 1.2.3 as /usr/local/bin/davit (SHA-256 verified)\n";
        assert.equal(stdout, `${said}davit\ndavit 1.2.3\n`);
      });
      await t.step(`${sh}: root where it is read-only`, async () => {
        await using place = await oldInstallation();
        const env = installEnv({ DAVIT_BASE_URL: server.url, HOME: place.root });
        const { code, stdout, stderr } = await run(inMounts("ro", `${sh} "$0"`), { env });
        assert.deepEqual([code, stderr], [0, ""]);
        assert.match(
          stdout,
          new RegExp(`^davit: installed davit 1\\.2\\.3 as ${place.root}/.local/bin/davit `),
        );
        assert.match(
          stdout,
          new RegExp(`\ndavit: note: "${place.root}/.local/bin" is not on PATH; add it: export`),
        );
      });
      await t.step(`${sh}: another user with a home`, async () => {
        await using place = await oldInstallation();
        await Deno.chown(place.root, OTHER_UID, OTHER_UID);
        const env = installEnv({ DAVIT_BASE_URL: server.url, HOME: place.root });
        const argv = inMounts("mode=755", `${AS_OTHER} ${sh} -s <"$0"`);
        const { code, stderr } = await run(argv, { env });
        assert.deepEqual([code, stderr], [0, ""]);
        assert.equal((await Deno.stat(place.join(".local", "bin", "davit"))).uid, OTHER_UID);
      });
      for (const home of [undefined, "", "/", "relative", "/proc/nowhere"]) {
        await t.step(`${sh}: another user with HOME=${home}`, async () => {
          const env = installEnv({ DAVIT_BASE_URL: server.url, HOME: home });
          const argv = inMounts(
            "mode=755",
            `${AS_OTHER} ${sh} -s <"$0"; echo "ended $?"; ls -A /usr/local/bin`,
          );
          const { stdout, stderr } = await run(argv, { env });
          assert.equal(stdout, "ended 73\n");
          const why = home === "/proc/nowhere"
            ? ".*; mkdir: .*"
            : " HOME is not set, and .*Permission denied.*";
          assert.match(stderr, new RegExp(`^davit: Cannot install davit:${why}\nhint: use --dir DIR\n$`));
        });
      }
    }
  },
});

Deno.test({
  ...mountable,
  name: "install.sh keeps the old davit where the new one has no room, cannot be written or cannot run",
  async fn(t) {
    const [old, server] = [standIn("0.9.0"), await serveRelease("1.2.3")];
    await using _server = server;
    await using place = await oldInstallation();
    await Deno.writeFile(place.join("new"), standIn("1.2.3"));
    // Room for the old file and half of the new one.
    const small = `size=${Math.ceil(old.length * 1.5)}`;
    const cases = [
      ...DOWNLOADERS.map((name) => ({
        name: `no room, ${name}`,
        options: small,
        with: name,
        code: 69,
        args: "",
      })),
      { name: "no room, a file", options: small, with: "curl", code: 73, args: ` ${place.join("new")}` },
      { name: "noexec", options: "noexec", with: "curl", code: 65, args: "" },
    ];
    for (const [index, { name, options, code, args, ...item }] of cases.entries()) {
      await t.step(name, async () => {
        const tools = await toolbox(place.join(`tools-${index}`), [item.with, "sha256sum"]);
        const env = installEnv({ DAVIT_BASE_URL: server.url });
        const commands = `cp -p "$1" /usr/local/bin/davit
          PATH=${tools} /bin/dash "$0" --dir /usr/local/bin${args}
          echo "ended $?"; ls -A /usr/local/bin; cmp "$1" /usr/local/bin/davit && echo kept`;
        const argv = inMounts(options, commands, `${place.bin}/davit`);
        const { stdout, stderr } = await run(argv, { env });
        assert.equal(stdout, `ended ${code}\ndavit\nkept\n`, stderr);
        const message = options === "noexec"
          ? /: --version ended with status 126, .*Permission denied\nhint: nothing was replaced; is "\S+" mounted/
          : /no space is left in "\/usr\/local\/bin"\n$/;
        assert.match(stderr, message);
      });
    }
    await t.step("without /dev/null, or with a file in its place", async () => {
      const commands = `mount -t tmpfs tmpfs /dev; for _ in 1 2; do
          dash "$0" --dir /usr/local/bin; echo "ended $?"; : >/dev/null; done; ls -A /usr/local/bin`;
      const env = installEnv({ DAVIT_BASE_URL: server.url });
      const { stdout, stderr } = await run(inMounts("mode=755", commands), { env });
      assert.equal(stdout, "ended 69\nended 69\n");
      assert.match(stderr, /^(davit: Cannot install davit: \/dev\/null is no device\nhint: [^\n]+\n){2}$/);
    });
    await t.step("read-only", async () => {
      const commands = `dash "$0" --dir /usr/local/bin/new; echo "ended $?"`;
      const env = installEnv({ DAVIT_BASE_URL: server.url });
      const { stdout, stderr } = await run(inMounts("ro", commands), { env });
      assert.equal(stdout, "ended 73\n");
      assert.match(
        stderr,
        /^davit: Cannot install into "\/usr\/local\/bin\/new": mkdir: .*Read-only file system\n$/,
      );
    });
  },
});

Deno.test({
  ...installable,
  name: "install.sh replaces a link and not what it leads to, and never moves into a directory",
  async fn(t) {
    await using server = await serveRelease("1.2.3");
    const env = installEnv({ DAVIT_BASE_URL: server.url });
    await t.step("a link to a file", async () => {
      await using place = await oldInstallation();
      await Deno.mkdir(place.join("links"));
      await Deno.symlink("../bin/davit", place.join("links", "davit"));
      const { code, stdout } = await run(["dash", INSTALL_SH, "--dir", place.join("links")], { env });
      assert.equal(code, 0);
      assert.match(stdout, /\/links\/davit in place of a link \(SHA-256 verified\)\n/);
      assert.ok((await Deno.lstat(place.join("links", "davit"))).isFile);
      await place.assertKept();
    });
    await t.step("a link to nothing", async () => {
      await using place = await oldInstallation();
      await Deno.remove(place.join("bin", "davit"));
      await Deno.symlink("nowhere", place.join("bin", "davit"));
      const { code } = await run(["dash", INSTALL_SH, "--dir", place.bin], { env });
      assert.equal(code, 0);
      assert.ok((await Deno.lstat(place.join("bin", "davit"))).isFile);
    });
    for (const kind of ["a directory", "a link to a directory"]) {
      await t.step(kind, async () => {
        await using place = await oldInstallation();
        await Deno.mkdir(place.join("target", "davit"), { recursive: true });
        if (kind !== "a directory") {
          await Deno.rename(place.join("target", "davit"), place.join("other"));
          await Deno.symlink("../other", place.join("target", "davit"));
        }
        const { code, stderr } = await run(["dash", INSTALL_SH, "--dir", place.join("target")], { env });
        assert.equal(code, 73);
        assert.match(stderr, /^davit: Cannot install "\S+\/target\/davit": a directory has that name\n$/);
        assert.deepEqual((await Array.fromAsync(Deno.readDir(place.join("target", "davit")))).length, 0);
      });
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh FILE needs no network, and says whether the file was verified",
  async fn(t) {
    const bytes = standIn("1.2.3");
    const right = await sumsOf({ [FILE_NAME]: bytes });
    const cases: [name: string, file: string, sums: string | undefined, code: number, message: RegExp][] = [
      ["verified", FILE_NAME, right, 0, /installed davit 1\.2\.3 as \S+\/davit \(SHA-256 verified\)\n/],
      ["not verified", "-x y", undefined, 0, /\(NOT verified: no SHA256SUMS beside the file\)\n/],
      ["damaged", FILE_NAME, right.replace(/^......../, "00000000"), 65, /is damaged, its SHA-256 is/],
      ["not listed", "renamed", right, 65, /SHA256SUMS has no line for "renamed"\n/],
    ];
    for (const [name, file, sums, status, message] of cases) {
      await t.step(name, async () => {
        await using place = await oldInstallation();
        await Deno.writeFile(place.join(file), bytes);
        if (sums !== undefined) await Deno.writeTextFile(place.join("SHA256SUMS"), sums);
        const tools = await toolbox(place.join("tools"), ["sha256sum"]);
        // A name that begins with a dash is given as a path.
        const argv = ["/bin/dash", INSTALL_SH, "--dir", "bin", file.replace(/^-/, "./-")];
        const { code, stdout, stderr } = await run(argv, {
          cwd: place.root,
          env: installEnv({ PATH: tools }),
        });
        assert.equal(code, status, stderr);
        assert.match(stdout + stderr, message);
        if (status !== 0) await place.assertKept();
        else assert.deepEqual(await Deno.readFile(`${place.bin}/davit`), bytes);
      });
    }
    for (const missing of ["nowhere", "."]) {
      await t.step(`no such file: ${missing}`, async () => {
        await using place = await oldInstallation();
        const argv = ["dash", INSTALL_SH, "--dir", place.bin, missing];
        const { code, stderr } = await run(argv, { cwd: place.root, env: installEnv() });
        assert.equal(code, 66);
        assert.match(stderr, /^davit: Cannot install ".*": there is no such file\n$/);
        await place.assertKept();
      });
    }
    await t.step("for another machine, or no davit at all", async () => {
      const esc = String.fromCharCode(27);
      for (
        const [content, message] of [
          [
            "\x7fELF\x02\x01\x01not for here",
            /--version ended with status 126, .*Exec format error|status 12[67]/,
          ],
          [`#!/bin/sh\necho "${esc}[2J${esc}]0;owned"\n`, /: it says "\[2J\]0;owned" and not its version\n/],
          [`#!/bin/sh\necho "${esc}[2Jno" >&2; exit 3\n`, /: --version ended with status 3, \[2Jno\n/],
          ["#!/bin/sh\n", /: it says "" and not its version\n/],
        ] as const
      ) {
        await using place = await oldInstallation();
        await Deno.writeTextFile(place.join("file"), content);
        const argv = ["dash", INSTALL_SH, "--dir", place.bin, place.join("file")];
        const { code, stderr } = await run(argv, { env: installEnv() });
        assert.equal(code, 65);
        assert.match(stderr, message);
        assert.ok(!stderr.includes(esc));
        await place.assertKept();
      }
    });
  },
});

Deno.test({
  ...installable,
  name: "install.sh says which davit PATH finds",
  async fn() {
    await using server = await serveRelease("1.2.3");
    await using place = await oldInstallation();
    const path = Deno.env.get("PATH");
    await Deno.symlink("bin", place.join("alias"));
    const install = async (dir: string, first: string) => {
      const env = installEnv({ DAVIT_BASE_URL: server.url, PATH: `${first}:${path}` });
      const { code, stdout } = await run(["dash", INSTALL_SH, "--dir", dir], { env });
      assert.equal(code, 0);
      return stdout.split("\n").slice(1).join("\n");
    };
    const other = place.join("other");
    assert.match(
      await install(other, place.bin),
      new RegExp(`^davit: note: PATH finds "${place.bin}/davit" first\n`),
    );
    assert.match(
      await install(other, "/nowhere"),
      new RegExp(`^davit: note: "${other}" is not on PATH; add it: `),
    );
    // Through another name, it is the same.
    for (const same of [other, `${other}/`]) assert.equal(await install(other, same), "");
    assert.equal(await install(place.bin, place.join("alias")), "");
  },
});
