import assert from "node:assert/strict";
import { VERSION } from "../../lib/version.ts";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { setPortableStage, STAGE_PROGRAMS } from "../../testdata/portable_stage.ts";
import { must } from "../../testdata/real_registry.ts";
import { run } from "../../testdata/run.ts";

const stageNeeds = needs({ programs: STAGE_PROGRAMS });
const rootNeeds = needs({
  root: true,
  programs: [...STAGE_PROGRAMS, "unshare", "chroot"],
  kernel: [privateMounts],
});
/** Every choice of the three. */
const CLOSED = ["", "0", "1", "2", "01", "02", "12", "012"];
const VERSION_LINE = `davit ${VERSION}\n`;

function heard(closed: string): string {
  return closed.includes("1") ? "" : VERSION_LINE;
}

Deno.test({
  name: "portable file: closed standard descriptors are /dev/null to it and to what it starts",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("closed");
    for (const closed of CLOSED) {
      await t.step(`without "${closed}"`, async () => {
        const version = await stage.runDavit(["--version"], [], closed);
        assert.deepEqual([version.code, version.stdout, version.stderr], [0, heard(closed), ""]);
        const bad = await stage.runDavit(["nonsense"], [], closed);
        assert.deepEqual([bad.code, bad.stderr !== ""], [64, !closed.includes("2")]);

        const list = stage.dir.join(`list-${closed}`);
        const find = ["/usr/bin/find", "/proc/self/fd", "-name", "[012]", "-fprintf", list, "%f %l\\n"];
        assert.equal((await stage.runProgram(["run", ...find], [], closed)).code, 0);
        const targets = (await Deno.readTextFile(list)).trimEnd().split("\n").sort();
        assert.equal(targets.length, 3);
        for (const digit of closed) assert.equal(targets[Number(digit)], `${digit} /dev/null`);
      });
    }
  },
});

Deno.test({
  name: "portable file: hands no descriptor on that deno itself would not",
  ...stageNeeds,
  async fn(t) {
    await using stage = await setPortableStage("descriptors");
    const listing = ["run", "/bin/ls", "-l", "/proc/self/fd"];
    const source = [Deno.execPath(), "run", "-A", stage.dir.join("program.js"), ...listing];
    const wanted = descriptorNumbers((await run(source)).stdout);

    await t.step("from a directory", async () => {
      assert.deepEqual(descriptorNumbers((await stage.runProgram(listing)).stdout), wanted);
    });
    await t.step("from a file that was removed", async () => {
      const copy = stage.dir.join("copy");
      await Deno.copyFile(stage.program, copy);
      // The shell executes a file that has no name any more.
      const script = `exec 9<"$0"; rm "$0"; exec "$@"`;
      const line = ["sh", "-c", script, copy, "/proc/self/fd/9", ...listing];
      const { stdout, code, stderr } = await run(line, { env: { DAVIT_CACHE: stage.cache } });
      assert.equal(code, 0, stderr);
      // The 9 is the shell's; the one by which davit holds its file must not be here.
      assert.deepEqual(descriptorNumbers(stdout), [...wanted, 9].sort((a, b) => a - b));
    });
    await t.step("what was given stays", async () => {
      const line = ["sh", "-c", 'exec 7</etc/passwd 8>/dev/null; exec "$@"', "sh", stage.program, ...listing];
      const { stdout } = await run(line, { env: { DAVIT_CACHE: stage.cache } });
      assert.match(stdout, / 7 -> \/etc\/passwd\n/);
      assert.deepEqual(descriptorNumbers(stdout), [...wanted, 7, 8].sort((a, b) => a - b));
    });
  },
});

/** Of an `ls -l`; its own, on the directory that it lists, is one of them. */
function descriptorNumbers(listing: string): number[] {
  return [...listing.matchAll(/ (\d+) -> /g)].map((match) => Number(match[1])).sort((a, b) => a - b);
}

Deno.test({
  name: "portable file: in a root without /dev, with a hostile ld.so.preload and a broken ld.so.cache",
  ...rootNeeds,
  async fn(t) {
    await using stage = await setPortableStage("bare-root");
    const { dir } = stage;
    for (const name of ["proc", "etc", "cache", "lib"]) {
      await Deno.mkdir(dir.join("root", name), { recursive: true });
    }
    await Deno.copyFile(stage.davit, dir.join("root/davit"));
    await Deno.copyFile(dir.join("raw_exec"), dir.join("root/raw_exec"));
    await Deno.writeFile(dir.join("root/none"), new Uint8Array());
    await Deno.writeTextFile(dir.join("root/env"), "DAVIT_CACHE=/cache\0");
    await Deno.writeTextFile(dir.join("root/version"), "davit\0--version\0");
    const mounted = `mount -t proc proc "$0/proc" && exec chroot "$0" "$@"`;
    const enter = (closed: string) =>
      run([
        "unshare",
        "--mount",
        "sh",
        "-c",
        mounted,
        dir.join("root"),
        "/raw_exec",
        closed,
        "/davit",
        "/env",
        "/version",
      ]);

    for (const closed of CLOSED) {
      await t.step(`without "${closed}"`, async () => {
        const { code, stdout, stderr } = await enter(closed);
        assert.deepEqual([code, stdout, stderr], [0, heard(closed), ""]);
      });
    }
    await t.step("a hostile library and a broken cache", async () => {
      const source =
        `#include <stdlib.h>\n__attribute__((constructor)) static void sprung(void) { _Exit(99); }\n`;
      await Deno.writeTextFile(dir.join("hostile.c"), source);
      const library = dir.join("root/lib/hostile.so");
      await must(["cc", "-shared", "-fPIC", "-o", library, dir.join("hostile.c")]);
      await Deno.writeTextFile(dir.join("root/etc/ld.so.preload"), "/lib/hostile.so\n");
      await Deno.writeFile(dir.join("root/etc/ld.so.cache"), crypto.getRandomValues(new Uint8Array(4096)));
      for (const name of ["libc.so.6", "libm.so.6", "libgcc_s.so.1"]) {
        await Deno.copyFile(library, dir.join("root/lib", name));
      }
      const { code, stdout, stderr } = await enter("");
      assert.deepEqual([code, stdout, stderr], [0, VERSION_LINE, ""]);
    });
  },
});
