import assert from "node:assert/strict";
import { assertFinding, examineWith, look } from "../../../testdata/doctor.ts";
import { needs } from "../../../testdata/needs.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { cgroupCheck } from "./cgroup.ts";

const V1 = "/sys/fs/cgroup";
const writableV1 = {
  name: "cgroup v1 with memory and pids that root can write to",
  works: () => {
    const script =
      `for c in memory pids; do d=${V1}/$c/davit-doctor-try-$$; mkdir $d && rmdir $d || exit 1; done; ` +
      `[ -e ${V1}/memory/memory.limit_in_bytes ]`;
    return new Deno.Command("sh", { args: ["-c", script], stderr: "null" }).outputSync().success;
  },
};

Deno.test({
  name: "doctor: the limits of a real v1 cgroup",
  ...needs({ root: true, kernel: [writableV1] }),
  async fn(t) {
    const rows = [
      [
        "memory",
        "memory.limit_in_bytes",
        400 << 20,
        /memory 419 MB.*memory is limited to 419 MB, 537 MB is wanted/,
      ],
      ["pids", "pids.max", 100, /pids 100; processes and threads are limited to 100, 128 are wanted/],
    ] as const;
    for (const [controller, file, limit, detail] of rows) {
      await t.step(controller, async () => {
        const group = `${V1}/${controller}/davit-doctor-${Deno.pid}`;
        await Deno.mkdir(group);
        try {
          await Deno.writeTextFile(`${group}/${file}`, String(limit));
          const wrap = ["sh", "-euc", 'echo $$ > "$0/cgroup.procs"; exec "$@"', group];
          const line = await examineWith({ wrap });
          assertFinding(line("cgroup"), "degraded", detail);
          assert.match(line("cgroup").detail, /^(?:hybrid|v1) \//);
        } finally {
          await Deno.remove(group);
        }
      });
    }
  },
});

Deno.test("doctor: cgroup v2, its limits and those above it, and none at all", async (t) => {
  await using dir = await tempDir("doctor");
  const proc = dir.join("proc");
  const tree = dir.join("cgroup");
  await Deno.mkdir(`${proc}/self`, { recursive: true });
  await Deno.mkdir(`${tree}/job/step`, { recursive: true });
  await Deno.writeTextFile(`${proc}/meminfo`, "MemTotal:       67108864 kB\n");
  await Deno.writeTextFile(`${proc}/self/cgroup`, "0::/job/step\n");
  await Deno.writeTextFile(`${proc}/self/mountinfo`, `1 1 0:1 / ${tree} rw - cgroup2 cgroup2 rw\n`);
  const set = async (files: Record<string, string>) => {
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${tree}/${name}`, `${text}\n`);
    }
  };
  const check = () => look(cgroupCheck({ proc, cgroup: tree }));
  await set({
    "job/step/cgroup.procs": String(Deno.pid),
    "job/step/memory.max": "max",
    "job/step/pids.max": "max",
  });
  await t.step("without limits", async () => {
    const finding = await check();
    assertFinding(finding, "ok", /^v2 \/job\/step, memory 68\.7 GB, cpu without quota, pids without limit$/);
  });
  await t.step("wide ones, one of them above", async () => {
    await set({ "job/memory.max": String(8 * 2 ** 30), "job/step/cpu.max": "150000 100000" });
    await set({ "job/step/pids.max": "4096" });
    assertFinding(await check(), "ok", /memory 8\.59 GB, cpu 1\.5 cores, pids 4096$/);
  });
  await t.step("tight ones", async () => {
    await set({ "job/step/memory.max": String(256 << 20), "job/step/pids.max": "20" });
    assertFinding(await check(), "degraded", /memory is limited to 268 MB.*limited to 20, 128/);
  });
  await t.step("not mounted", async () => {
    await Deno.writeTextFile(`${proc}/self/mountinfo`, "1 1 0:1 / / rw - ext4 disk rw\n");
    const finding = await look(cgroupCheck({ proc, cgroup: dir.join("nothing") }));
    assertFinding(finding, "missing", /no cgroup hierarchy is mounted/);
  });
});
