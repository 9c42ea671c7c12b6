import assert from "node:assert/strict";
import { needs } from "../../testdata/needs.ts";
import { tempDir } from "../../testdata/temp.ts";
import { v1Cgroup, v1Controllers } from "../../testdata/v1_cgroup.ts";
import { writeTree } from "../../testdata/written_tree.ts";
import { type CgroupLocation, locateCgroup } from "./cgroup.ts";
import { parseLimit, readLimits } from "./cgroup_limits.ts";

const MEMORY = 64 * 2 ** 30;

Deno.test("parseLimit() knows every spelling of no limit", async (t) => {
  const rows: [string, number | "max" | undefined][] = [
    ["max\n", "max"],
    ["9223372036854771712\n", "max"], // v1, pages of 4 KiB
    ["9223372036854710272\n", "max"], // v1, pages of 64 KiB
    ["9223372036854775807\n", "max"], // old v1
    ["18446744073709551615\n", "max"],
    ["-1\n", "max"],
    ["1152921504606846976\n", "max"], // 2^60
    [`${MEMORY}\n`, "max"],
    [`${MEMORY + 4096}\n`, "max"],
    [`${MEMORY - 4096}\n`, MEMORY - 4096],
    ["0\n", 0],
    ["67108864", 67108864],
    ["", undefined],
    ["12 34", undefined],
    ["-5", undefined],
    ["64M", undefined],
  ];
  for (const [text, expected] of rows) {
    await t.step(JSON.stringify(text), () => assert.equal(parseLimit(text, MEMORY), expected));
  }
  await t.step("without a ceiling a number is a number", () => {
    assert.equal(parseLimit("9007199254740991"), 9007199254740991);
    assert.equal(parseLimit("9007199254740992"), "max");
  });
});

const location = (version: 1 | 2, mountPoint: string, below: string): CgroupLocation => {
  const dir = { version, mountPoint, path: mountPoint + below, isRoot: below === "" };
  return {
    version: `v${version}`,
    path: below || "/",
    isVerified: true,
    isNamespaced: false,
    areAncestorsVisible: true,
    dirs: { memory: dir, cpu: dir, pids: dir },
  };
};

Deno.test("readLimits() takes the lowest of all ancestors on v2", async () => {
  await using dir = await tempDir("limits");
  await writeTree(dir.path, {
    "pod/memory.max": "1073741824\n",
    "pod/cpu.max": "150000 100000\n",
    "pod/pids.max": "max\n",
    "pod/c/memory.max": "2147483648\n",
    "pod/c/cpu.max": "max 100000\n",
    "pod/c/pids.max": "1024\n",
  });
  assert.deepEqual(readLimits(location(2, dir.path, "/pod/c"), MEMORY), {
    memoryMax: 2147483648,
    memoryEffective: 1073741824,
    cpuCores: 1.5,
    pidsMax: 1024,
  });
  assert.deepEqual(readLimits(location(2, dir.path, ""), MEMORY), {
    memoryMax: undefined,
    memoryEffective: MEMORY,
    cpuCores: undefined,
    pidsMax: undefined,
  });
});

Deno.test("readLimits() sees ancestors outside of a namespace on v1, and knows -1", async () => {
  await using dir = await tempDir("limits");
  await writeTree(dir.path, {
    "memory.limit_in_bytes": "9223372036854771712\n",
    "memory.stat":
      "cache 0\nhierarchical_memory_limit 67108864\nhierarchical_memsw_limit 9223372036854771712\n",
    "cpu.cfs_quota_us": "-1\n",
    "cpu.cfs_period_us": "100000\n",
    "pids.max": "max\n",
  });
  assert.deepEqual(readLimits(location(1, dir.path, ""), MEMORY), {
    memoryMax: "max",
    memoryEffective: 67108864,
    cpuCores: undefined,
    pidsMax: "max",
  });
  await writeTree(dir.path, { "cpu.cfs_quota_us": "25000\n" });
  assert.equal(readLimits(location(1, dir.path, ""), undefined).cpuCores, 0.25);
});

Deno.test({
  ...needs({ root: true, kernel: [v1Controllers("memory", "cpu", "pids")] }),
  name: "readLimits() reads a real v1 cgroup below one with a lower limit",
  async fn() {
    await using parent = await v1Cgroup(["memory", "cpu", "pids"]);
    await parent.set("memory", "limit_in_bytes", 64 << 20);
    await parent.set("cpu", "cfs_quota_us", 50_000);
    await using child = await v1Cgroup(["memory", "cpu", "pids"], `${parent.path}/inner`);
    await child.set("pids", "max", 77);
    const limits = readLimits(locateCgroup({ cgroup: child.path }), MEMORY);
    assert.deepEqual(limits, { memoryMax: "max", memoryEffective: 64 << 20, cpuCores: 0.5, pidsMax: 77 });
    await child.set("memory", "limit_in_bytes", 32 << 20);
    assert.equal(readLimits(locateCgroup({ cgroup: child.path }), MEMORY).memoryMax, 32 << 20);
    assert.equal(readLimits(locateCgroup({ cgroup: child.path }), MEMORY).memoryEffective, 32 << 20);
  },
});
