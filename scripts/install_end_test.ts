import assert from "node:assert/strict";
import { isAlive } from "../testdata/alive.ts";
import {
  FILE_NAME,
  INSTALL_PROGRAMS,
  INSTALL_SH,
  installEnv,
  oldInstallation,
  serveRelease,
  SHELLS,
  standIn,
} from "../testdata/install_sh.ts";
import { needs, privateMounts } from "../testdata/needs.ts";
import { run, start } from "../testdata/run.ts";

const installable = needs({ programs: INSTALL_PROGRAMS });
const bytes = standIn("1.2.3");

/** A release whose file stops half-way; `reached` when that much was sent, `left` when nobody reads on. */
async function stallingRelease() {
  const [reached, left] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const server = await serveRelease("1.2.3", {
    [`/${FILE_NAME}`]: () => {
      let sent = false;
      const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
        pull(controller) {
          if (sent) return reached.resolve();
          controller.enqueue(bytes.slice(0, bytes.length / 2));
          sent = true;
        },
        cancel: () => left.resolve(),
      }, { highWaterMark: 0 });
      return new Response(body);
    },
  });
  return { server, reached: reached.promise, left: left.promise };
}

Deno.test({
  ...installable,
  name: "install.sh leaves nothing behind when a signal ends it half-way, and the old davit works",
  async fn(t) {
    const signals = [["SIGTERM", 143], ["SIGINT", 130], ["SIGHUP", 129]] as const;
    for (const shell of SHELLS) {
      for (const [signal, status] of signals) {
        for (const group of [false, true]) {
          await t.step(`${shell.join(" ")}: ${signal}${group ? " to the group" : ""}`, async () => {
            await using place = await oldInstallation();
            const { server, reached, left } = await stallingRelease();
            await using _server = server;
            const env = installEnv({ DAVIT_BASE_URL: server.url });
            await using process = start([...shell, INSTALL_SH, "--dir", place.bin], {
              env,
              timeoutMs: 20_000,
            });
            await reached;
            process.kill(signal, { group });
            const { code, stdout } = await process.done;
            assert.deepEqual([code, stdout], [status, ""]);
            await left; // the downloader is gone too
            await place.assertKept();
          });
        }
      }
    }
  },
});

Deno.test({
  ...installable,
  name: "install.sh that was killed harms neither the old davit nor the next installation",
  async fn() {
    await using place = await oldInstallation();
    const { server, reached } = await stallingRelease();
    await using _server = server;
    const env = installEnv({ DAVIT_BASE_URL: server.url });
    await using process = start(["dash", INSTALL_SH, "--dir", place.bin], { env });
    await reached;
    process.kill("SIGKILL", { group: true });
    assert.equal((await process.done).signal, "SIGKILL");
    assert.equal((await run([`${place.bin}/davit`, "--version"])).stdout, "davit 0.9.0\n");

    await using whole = await serveRelease("1.2.3");
    const again = installEnv({ DAVIT_BASE_URL: whole.url });
    assert.equal((await run(["dash", INSTALL_SH, "--dir", place.bin], { env: again })).code, 0);
    assert.equal((await run([`${place.bin}/davit`, "--version"])).stdout, "davit 1.2.3\n");
    // What the killed one had begun is not told from what another one does right now; --uninstall takes it.
    const left = await Array.fromAsync(Deno.readDir(place.bin));
    assert.equal(left.filter(({ name }) => name.startsWith(".davit-install.")).length, 1);
    assert.equal((await run(["dash", INSTALL_SH, "--uninstall", "--dir", place.bin], { env })).code, 0);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(place.bin)), []);
  },
});

Deno.test({
  ...installable,
  name: "ten installations at once, under a davit that runs",
  async fn() {
    await using place = await oldInstallation();
    await using server = await serveRelease("1.2.3");
    await using old = start([`${place.bin}/davit`, "serve"]);
    await old.waitFor(/^runs\n/);
    const env = installEnv({ DAVIT_BASE_URL: server.url });
    const results = await Promise.all(
      Array.from(
        { length: 10 },
        (_, index) => run([...SHELLS[index % SHELLS.length]!, INSTALL_SH, "--dir", place.bin], { env }),
      ),
    );
    for (const { code, stderr } of results) assert.deepEqual([code, stderr], [0, ""]);
    assert.deepEqual((await Array.fromAsync(Deno.readDir(place.bin))).map(({ name }) => name), ["davit"]);
    assert.deepEqual(await Deno.readFile(`${place.bin}/davit`), bytes);
    assert.ok(isAlive(old.pid));
  },
});

Deno.test({
  ...installable,
  name: "install.sh --uninstall removes davit, or the link to it, and says when there is none",
  async fn() {
    await using place = await oldInstallation();
    const uninstall = (dir: string) =>
      run(["dash", INSTALL_SH, "--uninstall", "--dir", dir], { env: installEnv(), cwd: place.root });
    await Deno.mkdir(place.join("links"));
    await Deno.symlink("../bin/davit", place.join("links", "davit"));
    await Deno.writeTextFile(place.join("links", "davit-not"), "");
    assert.match((await uninstall("links")).stdout, /^davit: removed \S+\/links\/davit; its cache stays \(/);
    assert.deepEqual((await Array.fromAsync(Deno.readDir(place.join("links")))).map(({ name }) => name), [
      "davit-not",
    ]);
    await place.assertKept();
    assert.equal((await uninstall("bin")).code, 0);
    const { code, stdout, stderr } = await run(["dash", INSTALL_SH, "--uninstall", "--dir", place.bin], {
      env: installEnv(),
    });
    assert.deepEqual([code, stderr], [0, ""]);
    assert.equal(stdout, `davit: nothing to remove: there is no davit in ${place.bin}\n`);
  },
});

Deno.test({
  ...needs({ root: true, programs: [...INSTALL_PROGRAMS, "unshare", "setpriv"], kernel: [privateMounts] }),
  name: "install.sh --uninstall looks in both places, and fails where it may not",
  async fn() {
    await using place = await oldInstallation();
    await Deno.mkdir(place.join(".local"));
    await Deno.rename(place.bin, place.join(".local", "bin"));
    const commands = `mount -t tmpfs tmpfs /usr/local/bin; cp "$HOME/.local/bin/davit" /usr/local/bin
      setpriv --reuid=8001 --regid=8001 --clear-groups dash -s -- --uninstall <"$0"; echo "ended $?"
      dash "$0" --uninstall; echo "ended $?"; ls -A /usr/local/bin; ls -A "$HOME/.local/bin"`;
    const env = installEnv({ HOME: place.root });
    const { stdout, stderr } = await run(["unshare", "-m", "sh", "-uc", commands, INSTALL_SH], { env });
    assert.match(stderr, /^rm: .*\ndavit: Cannot remove "\/usr\/local\/bin\/davit"\n$/);
    const removed = (dir: string) =>
      `davit: removed ${dir}/davit; its cache stays ("davit self clean" would have removed it)\n`;
    const [first, second] = ["/usr/local/bin", `${place.root}/.local/bin`];
    assert.equal(stdout, `ended 73\n${removed(first)}${removed(second)}ended 0\n`);
  },
});
