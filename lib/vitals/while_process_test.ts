import assert from "node:assert/strict";
import { start } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { ProcessWatch } from "./while_process.ts";

async function becomes(watch: ProcessWatch, isRunning: boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (watch.isRunning() !== isRunning) {
    assert.ok(Date.now() < deadline, `still ${!isRunning}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

Deno.test("ProcessWatch finds a real process by its name, and sees its end", async (t) => {
  const rows: [what: string, name: string, argv: string[]][] = [
    ["by comm", "dav.Worker", ["bash", "-c", "cp /bin/sleep $0/dav.Worker && exec $0/dav.Worker 100"]],
    ["by a comm that was cut", "dav.Worker.with.a.long.name", [
      ...["bash", "-c"],
      "cp /bin/sleep $0/dav.Worker.with.a.long.name && exec $0/dav.Worker.with.a.long.name 100",
    ]],
    ["by its first argument", "dav.Interpreted", ["bash", "-c", "exec -a /opt/x/dav.Interpreted sleep 100"]],
  ];
  for (const [what, name, argv] of rows) {
    await t.step(what, async () => {
      await using dir = await tempDir("watch");
      const watch = new ProcessWatch(name);
      assert.equal(watch.isRunning(), false);
      await using process = start([...argv, dir.path]);
      await becomes(watch, true);
      process.kill("SIGKILL");
      await process.done;
      await becomes(watch, false);
    });
  }
});

Deno.test("ProcessWatch counts no zombies, survives what it cannot read, and is told apart by the whole name", async () => {
  await using dir = await tempDir("watch-tree");
  async function put(pid: string, stat: string, cmdline: string) {
    await Deno.mkdir(dir.join(pid), { recursive: true });
    await Deno.writeTextFile(dir.join(pid, "stat"), stat);
    await Deno.writeTextFile(dir.join(pid, "cmdline"), cmdline);
  }
  const watch = new ProcessWatch("Runner.Worker", { proc: dir.path });
  await Deno.mkdir(dir.join("self"));
  await Deno.mkdir(dir.join("77")); // ended while we looked
  await put("78", "78 (Runner.Worker) Z 1 1", "");
  await put("79", "79 (Runner.Listener) S 1 1", "/x/Runner.Listener\0run\0");
  await put("80", "80 (sh) S 1 1", "sh\0-c\0Runner.Worker\0");
  assert.equal(watch.isRunning(), false);
  await put("81", "81 (a) Runner.Worker) S 1 1", "/x/Runner.Worker\0");
  assert.equal(watch.isRunning(), true);
  await put("81", "81 (Runner.Worker) Z 1 1", "");
  assert.equal(watch.isRunning(), false);
  assert.throws(() => new ProcessWatch("x", { proc: dir.join("none") }).isRunning(), Deno.errors.NotFound);
});
