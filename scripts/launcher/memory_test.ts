import assert from "node:assert/strict";
import { busyboxMachine, type Machine } from "../../testdata/busybox_machine.ts";
import { needs, privateMounts } from "../../testdata/needs.ts";
import { BUILD_PROGRAMS } from "../../testdata/portable.ts";
import { inRoot, ROOT_PROGRAMS } from "../../testdata/roots.ts";
import { start } from "../../testdata/run.ts";
import { importArguments, startTourRegistry, takeTour } from "../../testdata/tour.ts";

const IN_ROOTS = needs({
  root: true,
  programs: [...BUILD_PROGRAMS, ...ROOT_PROGRAMS],
  kernel: [privateMounts],
});
const NOWHERE = ["root", "var/tmp", "tmp"]
  .map((name) => `mount -t tmpfs -o noexec,mode=1777 tmpfs "$1/${name}"`).join("\n");
const INSIDE = { env: { HOME: "/root" }, setup: NOWHERE };
const SAYS =
  /^davit: no directory to unpack to \([^\n]+\): running from memory, which costs \d+ MB; [^\n]+\n/;

Deno.test({
  ...IN_ROOTS,
  name: "the portable file does everything from memory where nothing may be executed",
  async fn(t) {
    await using machine = await busyboxMachine();
    await using registry = await startTourRegistry(4 << 20);
    for (const uid of [0, 8001]) {
      await t.step(`uid ${uid}`, async () => {
        const dir = `/work-${uid}`;
        await Deno.mkdir(machine.root + dir);
        await Deno.chown(machine.root + dir, uid, uid);
        const davit = (args: readonly string[]) => machine.run(["/davit", ...args], { ...INSIDE, uid });
        await takeTour(davit, { registry, dir, says: SAYS });
      });
    }
  },
});

/** An import from memory that waits for its registry. */
async function startWaiting(machine: Machine, registry: Awaited<ReturnType<typeof startTourRegistry>>) {
  registry.knobs.stallAt = { byte: 10, times: 1 };
  const args = [...importArguments(registry, "/out.sqsh", "/layers"), "--stall-timeout", "3s"];
  const davit = start(inRoot(machine.root, ["/davit", ...args], INSIDE), { timeoutMs: 300_000 });
  await davit.waitFor(/running from memory/, 60_000);
  while (!registry.seen.some(({ path }) => path.includes("/blobs/"))) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return davit;
}

Deno.test({
  ...IN_ROOTS,
  name:
    "the portable file is davit by name in memory, says once what that costs, and holds none of its descriptors",
  async fn() {
    await using machine = await busyboxMachine();
    await using registry = await startTourRegistry();
    await using davit = await startWaiting(machine, registry);

    assert.equal(await Deno.readTextFile(`/proc/${davit.pid}/comm`), "davit\n");
    const open = await Array.fromAsync(
      Deno.readDir(`/proc/${davit.pid}/fd`),
      ({ name }) => Deno.readLink(`/proc/${davit.pid}/fd/${name}`).catch(() => "closed meanwhile"),
    );
    assert.deepEqual(open.filter((target) => target.includes("memfd")), []);

    const { code, stderr } = await davit.done;
    assert.equal(code, 0, stderr);
    assert.equal(stderr.match(/running from memory/g)?.length, 1, stderr);
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "an import from memory goes on when the portable file itself is removed",
  async fn() {
    await using machine = await busyboxMachine();
    await using registry = await startTourRegistry();
    await using davit = await startWaiting(machine, registry);
    await Deno.rename(`${machine.root}/davit`, `${machine.root}/../davit-elsewhere`);
    await Deno.remove(`${machine.root}/../davit-elsewhere`);

    const { code, stdout, stderr } = await davit.done;

    assert.deepEqual([code, stdout], [0, "/out.sqsh\n"], stderr);
  },
});

Deno.test({
  ...IN_ROOTS,
  name: "what the portable file starts from memory inherits nothing of it",
  async fn() {
    await using machine = await busyboxMachine();
    await using registry = await startTourRegistry();
    // In sqfstar's place: it tells what it was given, and answers as a version that will do.
    const spy = [
      "#!/bin/sh",
      "ls -l /proc/$$/fd >> /spy/fds; cat /proc/$$/environ >> /spy/environ",
      'exec /davit self tool sqfstar "$@"',
    ].join("\n");
    await Deno.writeTextFile(`${machine.root}/bin/sqfstar`, spy, { mode: 0o755 });
    await Deno.mkdir(`${machine.root}/spy`);
    const env = { HOME: "/root", PATH: "/bin" };
    const args = importArguments(registry, "/out.sqsh", "/layers");
    const { code, stderr } = await machine.run(["/davit", ...args], { ...INSIDE, env });
    assert.equal(code, 0, stderr);

    const targets = (await Deno.readTextFile(`${machine.root}/spy/fds`)).split("\n").filter((line) =>
      line !== ""
    );
    assert.doesNotMatch(targets.join("\n"), /memfd| \/davit/);
    const { length } = targets.slice(targets.lastIndexOf("total 0"));
    await Deno.remove(`${machine.root}/spy/fds`);
    await machine.run(["/bin/sqfstar", "-version"], { ...INSIDE, env });
    const undisturbed = (await Deno.readTextFile(`${machine.root}/spy/fds`)).trimEnd().split("\n");
    assert.equal(length, undisturbed.length, `${targets.join("\n")}\n${undisturbed.join("\n")}`);
    const environ = await Deno.readTextFile(`${machine.root}/spy/environ`);
    assert.doesNotMatch(environ, /DAVIT|DENO|LD_/);
  },
});
