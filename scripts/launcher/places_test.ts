import assert from "node:assert/strict";
import { busyboxMachine } from "../../testdata/busybox_machine.ts";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS } from "../../testdata/portable.ts";
import { ROOT_PROGRAMS } from "../../testdata/roots.ts";

const IN_ROOTS = needs({
  root: true,
  programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS],
  kernel: [privateMounts],
});
const ALL = { DAVIT_CACHE: "/chosen", XDG_CACHE_HOME: "/xdg", HOME: "/root" };
/** The launcher's places in its order, in a root where all of them can be had. */
const PLACES = [
  "/chosen",
  "/xdg/davit",
  "/root/.cache/davit",
  "/var/cache/davit",
  "/var/tmp/davit-0",
  "/dev/shm/davit-0",
  "/tmp/davit-0",
];

function placeOf(unpacked: string | null): string | undefined {
  return unpacked?.replace(/\/[0-9a-f]{32}$/, "");
}

Deno.test({
  ...IN_ROOTS,
  name: "the portable file takes the first of its seven places that will do",
  async fn(t) {
    await using machine = await busyboxMachine();
    const { root } = machine;
    for (const name of ["xdg", "var/cache", "dev/shm"]) await Deno.mkdir(`${root}/${name}`);
    for (const [index, place] of PLACES.entries()) {
      await t.step(place, async () => {
        const { facts, stderr } = await machine.self({ env: ALL });
        assert.equal(placeOf(facts.unpacked), place);
        if (index === 0) assert.equal(stderr, "");
        else assert.match(stderr, /^davit: cannot use DAVIT_CACHE: \/chosen: not a directory\n$/);
      });
      await Deno.remove(root + place, { recursive: true });
      await Deno.writeTextFile(root + place, "in the way");
    }
    await t.step("memory", async () => {
      const { facts, stderr } = await machine.self({ env: ALL });
      assert.equal(facts.unpacked, null);
      for (const place of PLACES) assert.match(stderr, new RegExp(`[;(] ?${place}: `));
    });
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file passes by what is mounted noexec",
  async fn(t) {
    await using machine = await busyboxMachine();
    for (const name of ["xdg", "chosen", "var/cache", "dev/shm"]) await Deno.mkdir(`${machine.root}/${name}`);
    const tops = ["chosen", "xdg", "root", "var/cache", "var/tmp", "dev/shm", "tmp"];
    const noexec = (names: readonly string[]) =>
      names.map((name) => `mount -t tmpfs -o mode=1777,noexec,size=300m tmpfs "$1/${name}"`).join("\n");
    await t.step("all but the last", async () => {
      const { facts } = await machine.self({ env: ALL, setup: noexec(tops.slice(0, -1)) });
      assert.equal(placeOf(facts.unpacked), "/tmp/davit-0");
    });
    await t.step("all of them, and nothing is written there", async () => {
      const script = "/davit self --json; find /chosen /xdg /root /var /dev/shm /tmp -type f";
      const inside = { env: { ...ALL, PATH: "/bin" }, setup: noexec(tops) };
      const said = await machine.run(["/bin/sh", "-c", script], inside);
      assert.equal(said.code, 0, said.stderr);
      const [facts, ...files] = said.stdout.trimEnd().split("\n");
      assert.equal(JSON.parse(facts!).unpacked, null);
      assert.deepEqual(files, []);
      assert.equal(said.stderr.match(/mounted noexec/g)?.length, 8, said.stderr);
    });
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file goes on, and leaves nothing, where there is not room enough",
  async fn(t) {
    await using machine = await busyboxMachine();
    for (
      const [name, limits, reason] of [
        ["too few bytes, which can be told before", "size=60m", "not room enough"],
        ["too few inodes, which shows only half-way", "size=300m,nr_inodes=9", "No space left on device"],
      ] as const
    ) {
      await t.step(name, async () => {
        const setup = `mount -t tmpfs -o mode=1777,${limits} tmpfs "$1/var/tmp"`;
        const script = `/davit self --json; DAVIT_CACHE=/var/tmp/own /davit self 2>&1 >/dev/null
          find /var/tmp -mindepth 1; find /tmp -name '.new.*'`;
        const [facts, second, ...left] = (await machine.shell(script, { setup })).trimEnd().split("\n");
        assert.match(JSON.parse(facts!).unpacked, /^\/tmp\/davit-0\//);
        assert.match(
          second!,
          new RegExp(`^davit: cannot use DAVIT_CACHE: /var/tmp/own/[0-9a-f]+: ${reason}$`),
        );
        assert.deepEqual(left.sort(), ["/var/tmp/davit-0", "/var/tmp/own"]);
        await Deno.remove(`${machine.root}/tmp/davit-0`, { recursive: true });
      });
    }
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file says why it cannot use DAVIT_CACHE, and goes on",
  async fn(t) {
    await using machine = await busyboxMachine();
    for (const name of ["deep", "link", "closed"]) await Deno.mkdir(`${machine.root}/${name}`);
    await Deno.chmod(`${machine.root}/closed`, 0o700);
    for (
      const [value, reason, uid] of [
        ["cache", "cache: not an absolute path", 0],
        ["~/cache", "~/cache: not an absolute path", 0],
        ["/with:colon", "/with:colon/[0-9a-f]{32}: its name has a colon, .*", 0],
        ["/with$ORIGIN", "/with\\$ORIGIN/[0-9a-f]{32}: its name has a colon, .*", 0],
        ["/closed/cache", "/closed/cache: Permission denied", 8001],
        ["/new", "/new: Permission denied", 8001],
        ["/proc/none", "/proc/none: No such file or directory", 0],
        ["/davit", "/davit: not a directory", 0],
        ["/davit/below", "/davit/below: Not a directory", 0],
        [`/${"x".repeat(300)}`, "/x{300}: File name too long", 0],
        [`/${"deep/".repeat(1000)}`, ".*too long", 0],
        ["/with\x1b[31m\ncolour", ".*its name has a colon, semicolon, dollar sign or newline", 0],
      ] as const
    ) {
      await t.step(JSON.stringify(value.slice(0, 40)), async () => {
        const { facts, stderr } = await machine.self({ env: { DAVIT_CACHE: value }, uid });
        assert.equal(placeOf(facts.unpacked), `/var/tmp/davit-${uid}`);
        assert.match(stderr, new RegExp(`^davit: cannot use DAVIT_CACHE: ${reason}\n$`));
      });
    }
    await t.step("empty is as good as unset", async () => {
      assert.equal((await machine.self({ env: { DAVIT_CACHE: "" } })).stderr, "");
    });
    await t.step("spaces and umlauts are fine", async () => {
      const { facts, stderr } = await machine.self({ env: { DAVIT_CACHE: "/deep/with space/é" } });
      assert.deepEqual([placeOf(facts.unpacked), stderr], ["/deep/with space/é", ""]);
    });
    await t.step("a link of our own leads to where it leads", async () => {
      await Deno.symlink("/deep", `${machine.root}/link/ours`);
      const { facts, stderr } = await machine.self({ env: { DAVIT_CACHE: "/link/ours/" } });
      assert.deepEqual([placeOf(facts.unpacked), stderr], ["/deep", ""]);
    });
  },
});
