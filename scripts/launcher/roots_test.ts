import assert from "node:assert/strict";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS, portableFile } from "../../testdata/portable.ts";
import { inRoot, makeRoot, ROOT_PROGRAMS } from "../../testdata/roots.ts";
import { run } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { startTourRegistry, takeTour } from "../../testdata/tour.ts";

const IN_ROOTS = needs({
  root: true,
  programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS],
  kernel: [privateMounts],
});
/** One line, with each place and why it would not do. */
const FROM_MEMORY = /^davit: no directory to unpack to \(.+\): running from memory, which costs \d+ MB; .*\n/;

Deno.test({
  ...IN_ROOTS,
  name: "the portable file runs from memory in a root with nothing but /proc",
  async fn() {
    await using dir = await tempDir("roots");
    await using registry = await startTourRegistry();
    const root = await makeRoot("bare", dir.join("bare"), await portableFile());
    const davit = (args: readonly string[]) => run(inRoot(root, ["/davit", ...args]));

    await takeTour(davit, { registry, dir: "", says: FROM_MEMORY });

    const { stderr } = await davit(["--version"]);
    assert.equal(stderr.match(/memory/g)?.length, 1, stderr);
    assert.match(stderr, /\/var\/cache\/davit: No such file.*\/tmp\/davit-0: No such file/);
    assert.match(stderr, /costs 9\d MB|costs 1\d\d MB/);
    const there = [...Deno.readDirSync(root)].map(({ name }) => name).sort();
    assert.deepEqual(there, ["davit", "layers", "proc", "tour.sqsh", "tour.sqsh.json", "tour.sqsh.lock"]);
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file makes the directory that DAVIT_CACHE names in a root with nothing but /proc",
  async fn() {
    await using dir = await tempDir("roots");
    await using registry = await startTourRegistry();
    const root = await makeRoot("bare", dir.join("bare"), await portableFile());
    const env = { DAVIT_CACHE: "/deep/down/cache" };

    await takeTour((args) => run(inRoot(root, ["/davit", ...args], { env })), { registry, dir: "" });

    for (const path of ["deep", "deep/down", "deep/down/cache"]) {
      assert.equal(Deno.statSync(`${root}/${path}`).mode! & 0o777, 0o700, path);
    }
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file runs in a root with busybox alone, as root and as a user without a home",
  async fn(t) {
    await using dir = await tempDir("roots");
    await using registry = await startTourRegistry();
    const root = await makeRoot("busybox", dir.join("busybox"), await portableFile());
    await t.step("root", async () => {
      const env = { HOME: "/root" };
      await takeTour((args) => run(inRoot(root, ["/davit", ...args], { env })), { registry, dir: "" });
      assert.equal((await Deno.stat(`${root}/root/.cache/davit`)).mode! & 0o777, 0o700);
    });
    await t.step("uid 8001", async () => {
      await Deno.mkdir(`${root}/work`);
      await Deno.chown(`${root}/work`, 8001, 8001);
      const options = { uid: 8001, env: { HOME: "/home/nobody-made-it" } };
      const davit = (args: readonly string[]) => run(inRoot(root, ["/davit", ...args], options));
      await takeTour(davit, { registry, dir: "/work" });
      const { uid, mode } = await Deno.stat(`${root}/var/tmp/davit-8001`);
      assert.deepEqual([uid, mode! & 0o777], [8001, 0o700]);
    });
    await t.step("a shell starts it", async () => {
      const script = "cd /var; /davit --version | cat; exec /davit image check /nothing";
      const { code, stdout } = await run(inRoot(root, ["/bin/sh", "-c", script], { env: { PATH: "/bin" } }));
      assert.equal(code, 66);
      assert.match(stdout, /^davit \d/);
    });
  },
});

Deno.test({
  ...needs({
    root: true,
    programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS, `/lib/ld-musl-${Deno.build.arch}.so.1`],
    kernel: [privateMounts],
  }),
  name: "the portable file runs in a root whose C library is musl",
  async fn() {
    await using dir = await tempDir("roots");
    await using registry = await startTourRegistry();
    const root = await makeRoot("musl", dir.join("musl"), await portableFile());
    const loader = `/lib/ld-musl-${Deno.build.arch}.so.1`;
    assert.match((await run(inRoot(root, [loader]))).stderr, /^musl libc/);
    const glibc = await run(["find", root, "-name", "ld-linux*", "-o", "-name", "libc.so.6"]);
    assert.equal(glibc.stdout, "");

    // What musl's loader would take from here is not for ours.
    const env = { LD_LIBRARY_PATH: "/lib", HOME: "/root" };
    await takeTour((args) => run(inRoot(root, ["/davit", ...args], { env })), { registry, dir: "" });
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file runs in a read-only root with one tmpfs that may execute",
  async fn() {
    await using dir = await tempDir("roots");
    await using registry = await startTourRegistry();
    const root = await makeRoot("busybox", dir.join("busybox"), await portableFile());
    // What one run leaves in its tmpfs is gone for the next: it is all done in one.
    const setup = `mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"
      mount -t proc proc "$1/proc"
      mount -t tmpfs -o mode=1777,size=300m,noexec tmpfs "$1/var/tmp"
      mount -t tmpfs -o mode=1777,size=300m tmpfs "$1/tmp"
      mkdir "$1/tmp/work"; mount --bind "${dir.join("work")}" "$1/tmp/work"`;
    await Deno.mkdir(dir.join("work"));
    const options = { env: { HOME: "/root" }, setup };
    await takeTour((args) => run(inRoot(root, ["/davit", ...args], options)), { registry, dir: "/tmp/work" });

    const { stdout } = await run(inRoot(root, ["/davit", "self", "--json"], options));
    assert.match(JSON.parse(stdout).unpacked, /^\/tmp\/davit-0\/[0-9a-f]{32}$/);
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "the portable file says in one line that it needs /proc",
  async fn() {
    await using dir = await tempDir("roots");
    const root = await makeRoot("bare", dir.join("bare"), await portableFile());
    const { code, stdout, stderr } = await run(
      inRoot(root, ["/davit", "--version"], { setup: 'umount "$1/proc"' }),
    );
    assert.deepEqual([code, stdout], [69, ""]);
    assert.match(stderr, /^davit: cannot start: .*mount \/proc\n$/);
  },
});
