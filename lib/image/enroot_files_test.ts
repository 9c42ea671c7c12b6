import assert from "node:assert/strict";
import fc from "fast-check";
import { PLAIN_CONFIG } from "../../testdata/compare_umoci.ts";
import { tempDir } from "../../testdata/temp.ts";
import { type Log, silent } from "../host/log.ts";
import { addEnrootFiles, formatEnvironment, formatFstab, formatRc, shellQuote } from "./enroot_files.ts";
import { Directory, RegularFile, Rootfs, Symlink } from "./rootfs.ts";
import type { ImageConfig } from "./types.ts";

const PROVENANCE = "docker://registry/image@sha256:0";

/** A text that an argument can be: no NUL, and no half of a surrogate pair, which UTF-8 cannot say. */
const argument = fc.string({ unit: "binary", maxLength: 30 }).map((text) => text.replaceAll("\0", ""));

function countingLog(): { log: Log; warned: string[] } {
  const warned: string[] = [];
  return { log: { ...silent, warn: (message) => warned.push(message) }, warned };
}

Deno.test("formatRc() hands entrypoint, command and arguments to the shell byte for byte", async (t) => {
  await using directory = await tempDir("rc");
  // Prints its arguments as they are, each with a NUL behind it.
  await Deno.writeTextFile(directory.join("show"), `#!/bin/sh\nprintf '%s\\0' "$PWD" "$@"\n`, {
    mode: 0o755,
  });
  const show = directory.join("show");
  for (const shell of ["sh", "bash"]) {
    await t.step(shell, async () => {
      const property = fc.asyncProperty(
        fc.array(argument, { maxLength: 3 }),
        fc.array(argument, { maxLength: 3 }),
        fc.array(argument, { maxLength: 3 }),
        fc.dictionary(argument, argument, { maxKeys: 3 }),
        argument.filter((name) => name.replace(/[./]/g, "") !== "" && !name.includes("..")),
        async (entrypoint, cmd, args, labels, name) => {
          const workingDir = directory.join("w", name);
          const config: ImageConfig = {
            ...PLAIN_CONFIG,
            entrypoint: [show, ...entrypoint],
            cmd,
            labels,
            workingDir,
          };
          await Deno.writeTextFile(directory.join("rc"), formatRc(config, PROVENANCE));
          const { stdout, stderr } = await new Deno.Command(shell, { args: [directory.join("rc"), ...args] })
            .output();
          const expected = [...entrypoint, ...(args.length > 0 ? args : cmd)];
          const [pwd, ...shown] = new TextDecoder("utf-8", { ignoreBOM: true }).decode(stdout).split("\0")
            .slice(0, -1);
          const { stdout: real } = await new Deno.Command("realpath", { args: ["-mz", workingDir] }).output();
          assert.equal(
            `${pwd}\0`,
            new TextDecoder("utf-8", { ignoreBOM: true }).decode(real),
            new TextDecoder().decode(stderr),
          );
          assert.deepEqual(shown, expected);
        },
      );
      await fc.assert(property, { numRuns: 60 });
    });
  }
});

Deno.test("formatRc() starts a shell when the image names nothing", () => {
  assert.match(formatRc(PLAIN_CONFIG, PROVENANCE), /^ {4}exec "\$@"$/m);
  assert.match(formatRc(PLAIN_CONFIG, PROVENANCE), /^ {4}exec '\/bin\/sh'$/m);
  const withEntrypoint = formatRc({ ...PLAIN_CONFIG, entrypoint: ["/run me"] }, PROVENANCE);
  assert.match(withEntrypoint, /^ {4}exec '\/run me' "\$@"$/m);
  assert.match(withEntrypoint, /^ {4}exec '\/run me'$/m);
});

Deno.test("formatRc() keeps labels inside their comments", () => {
  const labels = { "evil\nrm -rf /": "x\r\ntouch /y", ok: "value" };
  const lines = formatRc({ ...PLAIN_CONFIG, labels }, PROVENANCE).split("\n");
  assert.deepEqual(lines.slice(0, 4), [
    `# enroot-provenance: ${PROVENANCE}`,
    "# evil rm -rf / x touch /y",
    "# ok value",
    "",
  ]);
});

Deno.test("shellQuote() refuses what no argument can hold", () => {
  assert.throws(() => shellQuote("a\0b"), { code: "bad_config" });
});

Deno.test("formatEnvironment() leaves out what does not fit on a line", () => {
  const { log, warned } = countingLog();
  const text = formatEnvironment(["A=b c='d'", "E=", "N=x\ny", "Z=a\0", "none", "=x", "Ü=ü"], log);
  assert.equal(text, "A=b c='d'\nE=\nÜ=ü\n");
  assert.equal(warned.length, 4);
});

Deno.test("formatFstab() escapes as getmntent(3) reads, and leaves out what would be expanded", () => {
  const { log, warned } = countingLog();
  const text = formatFstab(["/data", "/my data\\x", "relative", "/a\nb", "/$(id)", "/`id`"], log);
  const options = "none x-create=dir,bind,rw,nosuid,nodev";
  assert.equal(
    text,
    `\${ENROOT_ROOTFS}/data /data ${options}\n` +
      `\${ENROOT_ROOTFS}/my\\040data\\134x /my\\040data\\134x ${options}\n`,
  );
  assert.equal(warned.length, 4);
});

Deno.test("addEnrootFiles() replaces what is there, through a linked /etc too", () => {
  const rootfs = new Rootfs(5);
  const etc = new Symlink(0, 0o777, 0, 0, 0, undefined);
  etc.target = "../usr/etc";
  const old = new Symlink(0, 0o777, 0, 0, 0, undefined);
  old.target = "/nowhere";
  rootfs.put({ directory: rootfs.root, name: "etc" }, etc, 0);
  rootfs.put({ directory: rootfs.makeDirectory(["usr", "etc"], 0), name: "environment" }, old, 0);
  const config = { ...PLAIN_CONFIG, env: ["A=é"], workingDir: "/wörk/dir" };
  addEnrootFiles(rootfs, { config, provenance: PROVENANCE, layer: 1, mtimeSeconds: 5, log: silent });
  const file = rootfs.find(["usr", "etc", "environment"]);
  assert.ok(file instanceof RegularFile);
  assert.equal(new TextDecoder().decode(file.content), "A=é\n");
  for (const name of ["rc", "rc.local", "fstab"]) {
    assert.ok(rootfs.find(["etc", name]) instanceof RegularFile);
  }
  assert.ok(rootfs.find(["w\xc3\xb6rk", "dir"]) instanceof Directory);
});

Deno.test("addEnrootFiles() leaves a file alone that the image calls its working directory", () => {
  const rootfs = new Rootfs(5);
  const file = new RegularFile(0, 0o644, 0, 0, 0, undefined);
  rootfs.put({ directory: rootfs.root, name: "file" }, file, 0);
  const { log, warned } = countingLog();
  const config = { ...PLAIN_CONFIG, workingDir: "/file" };
  addEnrootFiles(rootfs, { config, provenance: PROVENANCE, layer: 1, mtimeSeconds: 5, log });
  assert.equal(rootfs.find(["file"]), file);
  assert.equal(warned.length, 1);
});

Deno.test("addEnrootFiles() refuses an /etc that is a loop", () => {
  const rootfs = new Rootfs(5);
  const etc = new Symlink(0, 0o777, 0, 0, 0, undefined);
  etc.target = "etc";
  rootfs.put({ directory: rootfs.root, name: "etc" }, etc, 0);
  assert.throws(
    () =>
      addEnrootFiles(rootfs, {
        config: PLAIN_CONFIG,
        provenance: PROVENANCE,
        layer: 1,
        mtimeSeconds: 5,
        log: silent,
      }),
    { code: "unsafe_layer" },
  );
});
