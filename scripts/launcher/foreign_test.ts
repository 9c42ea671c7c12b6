import assert from "node:assert/strict";
import { busyboxMachine, type Machine, treeOf } from "../../testdata/busybox_machine.ts";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS } from "../../testdata/portable.ts";
import { must } from "../../testdata/real_registry.ts";
import { ROOT_PROGRAMS } from "../../testdata/roots.ts";

const IN_ROOTS = needs({
  root: true,
  programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS],
  kernel: [privateMounts],
});
const STRANGER = 8001;
/** What a trap does when it is executed: the test looks for this file. */
const TRAP = "#!/bin/sh\necho trapped > /tmp/trapped\n";
/** What the runtime itself keeps changes with each start. */
const RUNTIME_CACHE = /^\S+ \S+ \S+ \S+ deno\./;

/** The directory that davit unpacked in /tmp, copied to `path` of the root, with traps for parts. */
async function layTrap(machine: Machine, path: string, owner: number): Promise<void> {
  const { facts } = await machine.self({ env: { DAVIT_CACHE: "/model" } });
  const directory = `${machine.root}${path}/${facts.unpacked!.split("/").at(-1)}`;
  await Deno.mkdir(directory, { recursive: true });
  for await (const { name, isFile } of Deno.readDir(machine.root + facts.unpacked!)) {
    if (!isFile) continue;
    const { size } = await Deno.stat(`${machine.root}${facts.unpacked}/${name}`);
    await Deno.writeTextFile(`${directory}/${name}`, TRAP);
    await Deno.truncate(`${directory}/${name}`, size);
    await Deno.chmod(`${directory}/${name}`, 0o555);
  }
  await must(["chown", "-R", `${owner}:${owner}`, machine.root + path]);
}

/** Runs davit, which must take /tmp, without what lies in /var/tmp having been executed or changed. */
async function passesBy(machine: Machine, reason: RegExp): Promise<void> {
  const before = await treeOf(`${machine.root}/var/tmp`);
  const { facts } = await machine.self();
  assert.match(facts.unpacked!, /^\/tmp\/davit-0\/[0-9a-f]{32}$/);
  assert.deepEqual(await treeOf(`${machine.root}/var/tmp`), before);
  assert.throws(() => Deno.statSync(`${machine.root}/tmp/trapped`), Deno.errors.NotFound);
  const { stderr } = await machine.self({ env: { DAVIT_CACHE: "/var/tmp/davit-0" } });
  assert.match(stderr, reason);
  assert.deepEqual(await treeOf(`${machine.root}/var/tmp`), before);
}

const PLANTED: readonly {
  readonly name: string;
  readonly reason: RegExp;
  plant(machine: Machine): Promise<void>;
}[] = [
  {
    name: "another user's directory with everything that we look for",
    reason: /\/var\/tmp\/davit-0: it, or one above, is another user's\n$/,
    plant: (machine) => layTrap(machine, "/var/tmp/davit-0", STRANGER),
  },
  {
    name: "another user's link to a directory of his",
    reason: /\/var\/tmp\/davit-0: a link that another user made\n$/,
    async plant(machine) {
      await layTrap(machine, "/var/tmp/his", STRANGER);
      await link(machine, "/var/tmp/his");
    },
  },
  {
    name: "another user's link to a directory of ours",
    reason: /\/var\/tmp\/davit-0: a link that another user made\n$/,
    async plant(machine) {
      await Deno.mkdir(`${machine.root}/var/tmp/ours`, { mode: 0o700 });
      await link(machine, "/var/tmp/ours");
    },
  },
  {
    name: "another user's link to nothing, where we would make a directory",
    reason: /\/var\/tmp\/davit-0: a link that another user made\n$/,
    plant: (machine) => link(machine, "/var/tmp/nothing"),
  },
  {
    name: "another user's file",
    reason: /\/var\/tmp\/davit-0: not a directory\n$/,
    async plant({ root }) {
      await Deno.writeTextFile(`${root}/var/tmp/davit-0`, TRAP, { mode: 0o777 });
      await Deno.chown(`${root}/var/tmp/davit-0`, STRANGER, STRANGER);
    },
  },
  {
    name: "another user's pipe, which nobody reads",
    reason: /\/var\/tmp\/davit-0: not a directory\n$/,
    async plant({ root }) {
      await must(["mkfifo", `${root}/var/tmp/davit-0`]);
      await Deno.chown(`${root}/var/tmp/davit-0`, STRANGER, STRANGER);
    },
  },
  ...[0o770, 0o707, 0o1777].map((mode) => ({
    name: `a directory of ours that others can write to (${mode.toString(8)})`,
    reason: /\/var\/tmp\/davit-0: others can write to it, or to one above\n$/,
    async plant(machine: Machine) {
      await layTrap(machine, "/var/tmp/davit-0", 0);
      await Deno.chmod(`${machine.root}/var/tmp/davit-0`, mode);
    },
  })),
  {
    name: "a directory below one that others can write to",
    reason: /\/var\/tmp\/davit-0: others can write to it, or to one above\n$/,
    async plant(machine) {
      await layTrap(machine, "/var/tmp/davit-0", 0);
      await Deno.chmod(`${machine.root}/var/tmp`, 0o777);
    },
  },
  {
    name: "parts that another user's directory holds, in a directory of ours",
    reason: /it, or one above, is another user's\n$/,
    async plant(machine) {
      await layTrap(machine, "/var/tmp/davit-0", STRANGER);
      await Deno.chown(`${machine.root}/var/tmp/davit-0`, 0, 0);
    },
  },
];

/** Makes /var/tmp/davit-0 a link of the stranger's. */
async function link({ root }: Machine, to: string): Promise<void> {
  await Deno.symlink(to, `${root}/var/tmp/davit-0`);
  await must(["chown", "-h", `${STRANGER}:${STRANGER}`, `${root}/var/tmp/davit-0`]);
}

Deno.test({
  ...IN_ROOTS,
  name: "the portable file does not trust, execute or change what others planted in its place",
  async fn(t) {
    await using machine = await busyboxMachine();
    for (const { name, reason, plant } of PLANTED) {
      await t.step(name, async () => {
        await plant(machine);
        await passesBy(machine, reason);
      });
      await Deno.remove(`${machine.root}/var/tmp`, { recursive: true });
      await Deno.mkdir(`${machine.root}/var/tmp`);
      await Deno.chmod(`${machine.root}/var/tmp`, 0o1777);
    }
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file replaces a part of its own directory that is not what it unpacked",
  async fn(t) {
    await using machine = await busyboxMachine();
    const { facts } = await machine.self();
    const directory = `${machine.root}${facts.unpacked}`;
    const whole = await treeOf(directory, RUNTIME_CACHE);
    const names = whole.map((line) => line.split(" ")[4]!);
    assert(names.includes("davit") && names.includes("runtime") && names.includes("sqfstar"), names.join());
    await Deno.writeTextFile(`${machine.root}/tmp/trap`, TRAP, { mode: 0o755 });
    for (
      const [how, change] of [
        ["a link", (path: string) => replaced(path, () => Deno.symlinkSync("/tmp/trap", path))],
        ["shorter", (path: string) => Deno.truncateSync(path, 100)],
        ["longer", (path: string) => Deno.writeFileSync(path, new Uint8Array(1), { append: true })],
        ["another user's", (path: string) => Deno.chownSync(path, STRANGER, STRANGER)],
        ["writable by others", (path: string) => Deno.chmodSync(path, 0o777)],
        ["not executable", (path: string) => Deno.chmodSync(path, 0o444)],
        ["a pipe", (path: string) => replaced(path, () => fifo(path))],
        ["gone", (path: string) => Deno.removeSync(path)],
      ] as const
    ) {
      await t.step(how, async () => {
        for (const name of ["davit", "runtime", "main.js", "libc.so.6", "sqfstar"]) {
          change(`${directory}/${name}`);
        }
        assert.equal((await machine.self()).facts.unpacked, facts.unpacked);
        assert.deepEqual(await treeOf(directory, RUNTIME_CACHE), whole);
        assert.throws(() => Deno.statSync(`${machine.root}/tmp/trapped`), Deno.errors.NotFound);
      });
    }
    await t.step("each of them gone in turn", async () => {
      for (const name of names) {
        await Deno.remove(`${directory}/${name}`);
        const { stdout } = await machine.run(["/davit", "self", "tool", "unsquashfs", "-version"]);
        assert.match(stdout, /^unsquashfs version/, name);
      }
      assert.deepEqual(await treeOf(directory, RUNTIME_CACHE), whole);
    });
    await t.step("a directory: that is nobody's to remove, the next place is taken", async () => {
      await replaced(`${directory}/libm.so.6`, () => Deno.mkdirSync(`${directory}/libm.so.6`));
      assert.match((await machine.self()).facts.unpacked!, /^\/tmp\/davit-0\//);
    });
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file makes nothing in the home of another user, as under sudo",
  async fn(t) {
    await using machine = await busyboxMachine();
    await Deno.mkdir(`${machine.root}/home/alice`, { recursive: true });
    await Deno.chown(`${machine.root}/home/alice`, STRANGER, STRANGER);
    for (
      const env of [{ HOME: "/home/alice" }, { DAVIT_CACHE: "/home/alice/a/b" }, {
        XDG_CACHE_HOME: "/home/alice",
      }]
    ) {
      await t.step(Object.keys(env)[0]!, async () => {
        const { facts, stderr } = await machine.self({ env });
        assert.match(facts.unpacked!, /^\/var\/tmp\/davit-0\//);
        if (env.DAVIT_CACHE !== undefined) assert.match(stderr, /another user's/);
        assert.deepEqual(await treeOf(`${machine.root}/home/alice`), []);
      });
    }
  },
});

function replaced(path: string, make: () => void): void {
  Deno.removeSync(path);
  make();
}

function fifo(path: string): void {
  new Deno.Command("mkfifo", { args: [path] }).outputSync();
}
