import assert from "node:assert/strict";
import { busyboxMachine, treeOf } from "../../testdata/busybox_machine.ts";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../../testdata/portable.ts";
import { layoutOf, sealed } from "../../testdata/portable_layout.ts";
import { ROOT_PROGRAMS } from "../../testdata/roots.ts";
import { davit } from "../../testdata/run.ts";

const IN_ROOTS = needs({
  root: true,
  programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS],
  kernel: [privateMounts],
});
const USER = 8001;

/** Writes another version to `output`: the same parts with an index of other bytes, so of another name. */
async function writeOtherVersion(output: string): Promise<void> {
  const bytes = await Deno.readFile(await portableFile());
  const { index } = layoutOf(bytes);
  const text = new TextDecoder().decode(bytes.subarray(index.offset, index.offset + index.size));
  const [first = "", ...rest] = text.trimEnd().split("\n");
  const turned = [first, ...rest.reverse(), ""].join("\n");
  const pieces = [bytes.subarray(0, index.offset), await sealed(turned, index.offset)];
  await Deno.writeFile(output, new Uint8Array(await new Blob(pieces).arrayBuffer()), { mode: 0o755 });
}

Deno.test({
  ...IN_ROOTS,
  name: "davit self tells where the portable file runs from",
  async fn() {
    await using machine = await busyboxMachine();
    const { facts } = await machine.self();
    assert.deepEqual([facts.mode, facts.file], ["portable", "/davit"]);
    assert.match(facts.unpacked!, /^\/var\/tmp\/davit-0\/[0-9a-f]{32}$/);
    const { bytes, tools } = facts as unknown as { bytes: number; tools: string[] };
    assert(bytes > 90e6 && bytes < 150e6, `${bytes}`);
    assert.deepEqual(tools, ["sqfstar", "unsquashfs"]);
    const { stdout } = await machine.run(["/davit", "self"]);
    assert.match(
      stdout,
      /^davit \S+, portable, \S+, deno \S+: \/davit\nunpacked in \/var\/tmp\/davit-0\/\w{32} \(1\d\d MB\)\n/,
    );
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "davit self unpack makes a directory that every user runs from and none changes",
  async fn(t) {
    await using machine = await busyboxMachine();
    const { code, stdout, stderr } = await machine.run(["/davit", "self", "unpack", "/opt/davit"]);
    assert.deepEqual([code, stderr], [0, ""]);
    const unpacked = stdout.trimEnd();
    assert.match(unpacked, /^\/opt\/davit\/[0-9a-f]{32}$/);
    const tree = await treeOf(`${machine.root}/opt`);
    assert.deepEqual(tree.filter((line) => / deno\.| \.new\./.test(line)), []);
    assert(tree.every((line) => /^(?:d 755|f 555) 0 /.test(line)), tree.join("\n"));

    const env = { DAVIT_CACHE: "/opt/davit" };
    for (
      const [name, setup] of [
        ["as it is", ""],
        ["on a read-only mount", 'mount --bind "$1/opt" "$1/opt"; mount -o remount,ro,bind "$1/opt"'],
      ] as const
    ) {
      await t.step(name, async () => {
        const told = await machine.self({ env, uid: USER, setup });
        assert.deepEqual([told.facts.unpacked, told.stderr], [unpacked, ""]);
        const tool = await machine.run(["/davit", "self", "tool", "unsquashfs", "-version"], {
          env,
          uid: USER,
          setup,
        });
        assert.match(tool.stdout, /^unsquashfs version/);
        assert.deepEqual(await treeOf(`${machine.root}/opt`), tree);
      });
    }
    await t.step("a second time it changes nothing", async () => {
      assert.equal((await machine.run(["/davit", "self", "unpack", "/opt/davit"])).stdout, stdout);
      assert.deepEqual(await treeOf(`${machine.root}/opt`), tree);
    });
    await t.step("as the only copy, under any umask", async () => {
      const script = "umask 077; DAVIT_CACHE=/only/one /davit self unpack /only/one";
      assert.match(await machine.shell(script), /^\/only\/one\/[0-9a-f]{32}\n$/);
      const lone = await treeOf(`${machine.root}/only`);
      assert.deepEqual(lone.map((line) => line.replace(" one", " davit")), tree);
    });
    await t.step("from memory, and by a relative name", async () => {
      const setup = ["var/tmp", "tmp"].map((name) => `mount -t tmpfs -o noexec tmpfs "$1/${name}"`).join(
        "\n",
      );
      const made = await machine.run(["/davit", "self", "unpack", "opt/other", "--json"], { setup });
      assert.deepEqual(JSON.parse(made.stdout), { unpacked: `/opt/other/${unpacked.split("/").at(-1)}` });
    });
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "davit self unpack says why a directory will not do, and leaves it as it is",
  async fn(t) {
    await using machine = await busyboxMachine();
    await Deno.writeTextFile(`${machine.root}/file`, "in the way");
    await Deno.mkdir(`${machine.root}/his`);
    await Deno.chown(`${machine.root}/his`, USER, USER);
    await Deno.mkdir(`${machine.root}/mounted`);
    for (
      const [dir, reason, setup] of [
        ["/file", "not a directory", ""],
        ["/his", "another user's", ""],
        ["/tmp", "others can write to it", ""],
        ["/mounted", "mounted noexec", 'mount -t tmpfs -o noexec,mode=755 tmpfs "$1/mounted"'],
        ["/mounted", "not room enough", 'mount -t tmpfs -o size=50m,mode=755 tmpfs "$1/mounted"'],
        ["/with:colon", "colon", ""],
      ] as const
    ) {
      await t.step(`${dir}: ${reason}`, async () => {
        const before = await treeOf(machine.root, / (?:var|tmp|proc)\//);
        const { code, stdout, stderr } = await machine.run(["/davit", "self", "unpack", dir], { setup });
        assert.deepEqual([code, stdout], [73, ""], stderr);
        assert.match(stderr, new RegExp(`^davit: Cannot unpack to "${dir}": .*${reason}.*\nhint: `));
        assert.deepEqual(await treeOf(machine.root, / (?:var|tmp|proc)\//), before);
      });
    }
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "davit self clean removes other versions, and this one too with --all, and nothing else",
  async fn() {
    await using machine = await busyboxMachine();
    const { root } = machine;
    await writeOtherVersion(`${root}/newer`);
    const env = { HOME: "/root" };
    const older = (await machine.self({ env })).facts.unpacked!;
    const newer: string =
      JSON.parse((await machine.run(["/newer", "self", "--json"], { env })).stdout).unpacked;
    assert.notEqual(older, newer);
    const elsewhere = (await machine.self()).facts.unpacked!;
    assert.match(elsewhere, /^\/var\/tmp\//);
    for (const name of ["layers", "0123456789abcdef"]) await Deno.mkdir(`${root}/root/.cache/davit/${name}`);
    const left = async () =>
      (await Array.fromAsync(Deno.readDir(`${root}/root/.cache/davit`))).map(({ name }) => name).sort();
    const nameOf = (path: string) => path.split("/").at(-1)!;

    const first = await machine.run(["/newer", "self", "clean", "--json"], { env });
    const removed = JSON.parse(first.stdout).removed as { directory: string; bytes: number }[];
    assert.deepEqual(removed.map(({ directory }) => directory).sort(), [older, elsewhere].sort());
    assert(removed.every(({ bytes }) => bytes > 90e6));
    assert.deepEqual(await left(), ["0123456789abcdef", "layers", nameOf(newer)].sort());

    const again = await machine.run(["/newer", "self", "clean"], { env });
    assert.deepEqual([again.code, again.stdout], [0, "nothing to remove\n"]);

    const all = await machine.run(["/newer", "self", "clean", "--all"], { env });
    assert.match(all.stdout, new RegExp(`^removed ${newer} \\(1\\d\\d MB\\)\n$`));
    assert.deepEqual(await left(), ["0123456789abcdef", "layers"]);
    assert.equal((await machine.self({ env })).facts.unpacked, older);
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "davit self tool runs what the portable file carries, and says when there is no such thing",
  async fn() {
    await using machine = await busyboxMachine();
    const known = await machine.run(["/davit", "self", "tool", "sqfstar", "-version"]);
    assert.match(known.stdout, /^sqfstar version 4\./);
    const usage = await machine.run(["/davit", "self", "tool", "unsquashfs", "/none"]);
    assert.equal(usage.code, 1, "its own exit status");
    for (const name of ["mksquashfs", "libc.so.6", "davit", "runtime", "../davit", ""]) {
      const { code, stdout, stderr } = await machine.run(["/davit", "self", "tool", name]);
      assert.deepEqual([code, stdout], [64, ""]);
      assert.match(stderr, /^davit: Cannot run ".*": the portable file carries sqfstar and unsquashfs\n/);
    }
  },
});

Deno.test("davit self unpack and tool say that a davit from source carries nothing", async () => {
  for (const args of [["unpack", "/nowhere"], ["tool", "sqfstar"]]) {
    const { code, stderr } = await davit(["self", ...args, "--json"]);
    assert.equal(code, 64);
    assert.equal(JSON.parse(stderr).error.code, "not_portable");
  }
});
