import assert from "node:assert/strict";
import { setStage, STAGE_PROGRAMS } from "../testdata/import_stage.ts";
import { type KernelFeature, needs } from "../testdata/needs.ts";
import { run } from "../testdata/run.ts";
import { tempDir } from "../testdata/temp.ts";
import { compile } from "./compile.ts";

/** binfmt_misc(5): ELF, 64 bit, little endian, machine 183; F opens the interpreter now, so a chroot needs none. */
const MAGIC = "\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00";
const MASK =
  "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff";
/** Since Linux 6.7 each user namespace has its own list of interpreters, so that of the machine stays as it is. */
const REGISTER = 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && printf %s "$0" ' +
  '>/proc/sys/fs/binfmt_misc/register && exec "$@"';
const OWN_BINFMT = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", REGISTER];

const ownBinfmt: KernelFeature = {
  name: "binfmt_misc in a user namespace",
  works: () => {
    const [program, ...args] = [...OWN_BINFMT, ":davit-test:M::nothing::/bin/true:F", "true"];
    return new Deno.Command(program!, { args, stdin: "null", stdout: "null", stderr: "null" }).outputSync()
      .success;
  },
};

const PROGRAMS = [
  "aarch64-linux-gnu-gcc",
  "qemu-aarch64-static",
  "readelf",
  "zstd",
  "apt-get",
  "dpkg-deb",
  "npm",
];

Deno.test({
  name: "the portable file for Arm is built here and works under qemu",
  ...needs({ root: true, programs: [...PROGRAMS, ...STAGE_PROGRAMS], kernel: [ownBinfmt] }),
  async fn(t) {
    await using dir = await tempDir("arm");
    const { files, packed } = await compile({ arch: "aarch64", outDir: dir.join("dist"), level: 3 });
    const file = files.find(({ kind }) => kind === "portable")!.path;
    const interpreter = `:davit-test:M::${MAGIC}:${MASK}:${(await which("qemu-aarch64-static")).trim()}:F`;
    async function arm(...args: string[]) {
      // Without a PATH the tools of this machine are out of reach.
      const argv = [...OWN_BINFMT, interpreter, "/usr/bin/env", "PATH=/nowhere", file, ...args];
      return await run(argv, { env: { DAVIT_CACHE: dir.join("unpacked") }, timeoutMs: 300_000 });
    }
    await t.step("it tells the version of deno that npm has for Arm", async () => {
      const ended = await arm("self", "--json");
      assert.equal(ended.code, 0, ended.stderr);
      const facts = JSON.parse(ended.stdout);
      assert.equal(facts.arch, "aarch64");
      assert.equal(facts.mode, "portable");
      assert.equal(facts.deno, packed.find(({ origin }) => origin === "deno")?.version);
    });
    await t.step("it imports an image with the sqfstar that it carries", async () => {
      await using stage = await setStage(1 << 18);
      const ended = await arm(...stage.args("--platform", "linux/amd64"));
      assert.equal(ended.code, 0, ended.stderr);
      const checked = await arm("image", "check", stage.output, "--full");
      assert.equal(checked.code, 0, checked.stderr);
      const listed = await arm("self", "tool", "unsquashfs", "-l", stage.output);
      assert.match(listed.stdout, /squashfs-root\/bin/);
    });
    await t.step("exit codes come through", async () => {
      assert.equal((await arm("image", "check", "/nowhere")).code, 66);
    });
  },
});

async function which(program: string): Promise<string> {
  return (await run(["sh", "-c", `command -v ${program}`])).stdout;
}
