import assert from "node:assert/strict";
import { isAlive, untilEnded } from "../../testdata/alive.ts";
import { type KernelFeature, needs } from "../../testdata/needs.ts";
import { machine, until } from "../../testdata/gpu_machine.ts";
import { davitArgv } from "../../testdata/run.ts";
import { tempDir } from "../../testdata/temp.ts";
import { GpuWatch, type GpuWatchOptions } from "./gpu.ts";
import type { LineFields } from "./line.ts";

const SELF = { argv: davitArgv([]) as [string, ...string[]], env: {} };

/** A watch of `tool`, and what it told. */
function watch(options: Partial<GpuWatchOptions>) {
  const lines: LineFields[] = [];
  const events: LineFields[] = [];
  const watcher = new GpuWatch({
    self: SELF,
    intervalMs: 1_000,
    paceMs: 50,
    deadlineMs: 2_000,
    sys: "/none",
    waits: { firstMs: 200, capMs: 400 },
    onLine: (fields) => lines.push(fields),
    onEvent: (event, fields) => events.push({ event, ...fields }),
    ...options,
  });
  watcher.start();
  return {
    lines,
    events,
    watcher,
    names: () => events.map(({ event }) => event),
    async [Symbol.asyncDispose]() {
      await watcher.close();
    },
  };
}

/** Children of this process that are helpers. */
function helpers(): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((pid) => {
    if (!(pid > 0)) return false;
    try {
      const ppid = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ").at(-1)?.split(" ")[1];
      return Number(ppid) === Deno.pid &&
        Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes("gpu-helper") &&
        isAlive(pid);
    } catch {
      return false; // ended meanwhile
    }
  });
}

Deno.test("GpuWatch gives each GPU a line, from a helper that would go first", async () => {
  await using host = await machine();
  await host.use("gpu_eight", 'cat /proc/self/oom_score_adj >>"$0.adj"');
  await using it = watch(host);
  assert.equal(it.watcher.count, 1);
  await until(() => it.lines.length >= 16, "two rounds");
  assert.deepEqual(it.events, [{ event: "gpu_count", vendor: "nvidia", gpus: 8, before: 0 }]);
  assert.deepEqual(it.lines.slice(0, 8).map(({ gpu }) => gpu), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.equal(it.lines[3]!.util_pct, 93);
  // A line is printed right after its answer, if nothing takes the CPU in between.
  for (const { gpu_state, gpu_age_ms } of it.lines) {
    assert.equal(gpu_state, "ok");
    assert.ok(Number(gpu_age_ms) < 1_000, `${gpu_age_ms} ms`);
  }
  const [helper] = helpers();
  assert.equal(await Deno.readTextFile(`/proc/${helper}/oom_score_adj`), "1000\n");
  assert.match(await Deno.readTextFile(`${host.tool}.adj`), /^(?:1000\n)+$/);
  await it.watcher.close();
  await untilEnded(helper!);
});

Deno.test("GpuWatch keeps its pace and the GPUs' lines while nvidia-smi hangs, and comes back", async () => {
  await using host = await machine();
  await host.use("gpu_eight");
  await using it = watch({ ...host, deadlineMs: 2_000 });
  await until(() => it.lines.length >= 8, "a round");
  await host.use("gpu_hung");
  let lateMs = 0;
  let lastMs = performance.now();
  const ticker = setInterval(() => {
    lateMs = Math.max(lateMs, performance.now() - lastMs - 20);
    lastMs = performance.now();
  }, 20);
  await until(() => it.names().includes("gpu_hung"), "the hang");
  await until(
    () => it.lines.filter(({ gpu_state }) => gpu_state === "hung").length >= 24,
    "three rounds of it",
  );
  clearInterval(ticker);
  assert.ok(lateMs < 2_000, `a timer beside it was ${lateMs} ms late`);
  const hung = it.lines.filter(({ gpu_state }) => gpu_state === "hung");
  assert.deepEqual(Object.keys(hung[0]!), ["gpu", "uuid", "bus", "vendor", "gpu_state", "gpu_age_ms"]);
  assert.ok(Number(hung.at(-1)!.gpu_age_ms) > Number(hung[0]!.gpu_age_ms));
  assert.ok(Number(hung[0]!.gpu_age_ms) >= 1_900);
  await host.use("gpu_eight");
  await until(() => it.names().includes("source_back"), "the answer");
  await until(() => it.lines.at(-1)?.gpu_state === "ok", "fresh lines");
  assert.deepEqual(it.names(), ["gpu_count", "gpu_hung", "source_back"]);
  for (const pid of await host.started()) await untilEnded(pid);
});

const freezer: KernelFeature = {
  name: "the v1 freezer, in which SIGKILL has no effect",
  works() {
    const dir = `/sys/fs/cgroup/freezer/davit-probe-${crypto.randomUUID()}`;
    try {
      Deno.mkdirSync(dir);
      const can = [...Deno.readDirSync(dir)].some(({ name }) => name === "freezer.state");
      Deno.removeSync(dir);
      return can;
    } catch {
      return false;
    }
  },
};

/** A cgroup in which a process stops so that no signal ends it, until it is thawed. */
async function frozenPlace() {
  const dir = `/sys/fs/cgroup/freezer/davit-gpu-${crypto.randomUUID().slice(0, 8)}`;
  await Deno.mkdir(dir);
  const state = `${dir}/freezer.state`;
  const thaw = () => Deno.writeTextFile(state, "THAWED");
  return {
    /** Shell commands that put their process there. */
    script: `echo $$ >${dir}/cgroup.procs; echo FROZEN >${state}`,
    isFrozen: async () => (await Deno.readTextFile(state)).startsWith("FR"),
    thaw,
    async [Symbol.asyncDispose]() {
      await thaw();
      const left = async () => (await Deno.readTextFile(`${dir}/cgroup.procs`)).split("\n").filter(Boolean);
      await until(async () => {
        for (const pid of await left()) Deno.kill(Number(pid), "SIGKILL");
        return (await left()).length === 0;
      }, "an empty cgroup");
      await Deno.remove(dir);
    },
  };
}

Deno.test({
  name: "GpuWatch starts no second nvidia-smi beside one that cannot be killed, and does not wait for it",
  ...needs({ root: true, kernel: [freezer] }),
  async fn() {
    await using frozen = await frozenPlace();
    await using host = await machine();
    await host.use("gpu_hung", frozen.script);
    await using it = watch({ ...host, deadlineMs: 2_000 });
    await until(() => it.names().includes("gpu_hung"), "the hang");
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assert.equal((await host.started()).length, 1, "the waits of 200 and 400 ms are over");
    assert.ok(isAlive((await host.started())[0]!));
    await host.use("gpu_eight");
    await frozen.thaw();
    await until(() => it.lines.length >= 8, "the answer of the next");
    assert.deepEqual(it.names(), ["gpu_hung", "source_back", "gpu_count"]);

    // And close() does not wait for one either.
    await host.use("gpu_hung", frozen.script);
    await until(frozen.isFrozen, "the freezing");
    const isClosed = it.watcher.close().then(() => true);
    const patience = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => patience.resolve(false), 20_000);
    assert.ok(await Promise.race([isClosed, patience.promise]));
    clearTimeout(timer);
  },
});

Deno.test({
  name: "GpuWatch starts no second nvidia-smi beside one that outlived its helper",
  ...needs({ root: true, kernel: [freezer] }),
  async fn() {
    await using frozen = await frozenPlace();
    await using host = await machine();
    await host.use("gpu_hung", frozen.script);
    await using it = watch({ ...host, deadlineMs: 20_000 });
    await until(frozen.isFrozen, "the freezing");
    Deno.kill(helpers()[0]!, "SIGKILL");
    await until(() => it.names().includes("source_lost"), "the loss of the helper");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.deepEqual([helpers(), (await host.started()).length], [[], 1]);
    await host.use("gpu_eight");
    await frozen.thaw();
    await until(() => it.lines.length >= 8, "the next helper");
    for (const pid of await host.started()) await untilEnded(pid);
  },
});

Deno.test("GpuWatch gets over the end of its helper, however it comes", async (t) => {
  for (
    const [signal, event, state] of [["SIGKILL", "source_lost", "error"], [
      "SIGSTOP",
      "gpu_hung",
      "hung",
    ]] as const
  ) {
    await t.step(signal, async () => {
      await using host = await machine();
      await host.use("gpu_eight");
      await using it = watch({ ...host, deadlineMs: 1_000 });
      await until(() => it.lines.length >= 8, "a round");
      const [helper] = helpers();
      Deno.kill(helper!, signal);
      await until(() => it.names().includes(event), event);
      assert.ok(it.lines.some(({ gpu_state }) => gpu_state === state));
      await until(() => it.names().includes("source_back"), "another helper");
      await untilEnded(helper!);
    });
  }
});

Deno.test("GpuWatch says that a GPU is lost", async () => {
  await using host = await machine();
  await host.use("gpu_eight");
  await using it = watch(host);
  await until(() => it.lines.length >= 8, "a round");
  await host.use("gpu_lost");
  await until(() => it.lines.at(-1)?.gpu_state === "missing", "the loss");
  assert.deepEqual(it.names(), ["gpu_count", "source_lost", ...Array(7).fill("gpu_lost"), "gpu_count"]);
  assert.equal(it.lines.at(-8)?.gpu_state, "ok");
});

Deno.test("GpuWatch without GPUs starts nothing and says nothing", async () => {
  await using dir = await tempDir("gpu");
  await using it = watch({ dev: dir.path, tool: "/none" });
  assert.equal(it.watcher.count, 0);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual([it.lines, it.events, helpers()], [[], [], []]);
});

Deno.test("GpuWatch says what is missing, once", async (t) => {
  await using host = await machine();
  await host.use("gpu_no_driver");
  for (
    const [what, options, detail] of [
      ["the driver", {}, /^status 9: NVIDIA-SMI has failed/],
      ["nvidia-smi", { tool: "/none/nvidia-smi" }, /^\/none\/nvidia-smi$/],
      [
        "davit itself",
        { self: { argv: ["/none/davit"] as [string], env: {} } },
        /^the helper does not start/,
      ],
    ] as const
  ) {
    await t.step(what, async () => {
      await using it = watch({ ...host, ...options });
      await until(() => it.events.length > 0, "an event");
      await new Promise((resolve) => setTimeout(resolve, 500));
      assert.deepEqual(it.names(), ["source_lost"]);
      assert.match(String(it.events[0]!.detail), detail);
      assert.deepEqual(it.lines, []);
    });
  }
});
