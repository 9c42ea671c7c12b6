import assert from "node:assert/strict";
import { tempDir } from "../../testdata/temp.ts";
import { amdCards, amdReader } from "./gpu_amd.ts";

/** Writes a sysfs of cards; `files` are below the card's device. */
async function writeCard(
  sys: string,
  card: string,
  bus: string,
  files: Record<string, string>,
): Promise<void> {
  const device = `${sys}/devices/pci0000:00/${bus}`;
  for (const [name, text] of Object.entries(files)) {
    const path = `${device}/${name}`;
    await Deno.mkdir(path.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(path, `${text}\n`);
  }
  await Deno.mkdir(`${sys}/class/drm/${card}`, { recursive: true });
  await Deno.symlink(device, `${sys}/class/drm/${card}/device`);
}

const read = (sys: string) => amdReader({ sys })(new AbortController().signal);

Deno.test("amdReader() reads a data centre GPU from sysfs", async () => {
  await using dir = await tempDir("amd");
  await writeCard(dir.path, "card1", "0000:0b:00.0", {
    vendor: "0x1002",
    unique_id: "9b2f3c4d5e6f7081",
    gpu_busy_percent: "87",
    mem_busy_percent: "31",
    mem_info_vram_used: String(40_000 * 2 ** 20),
    mem_info_vram_total: String(196_592 * 2 ** 20),
    current_link_speed: "32.0 GT/s PCIe",
    current_link_width: "16",
    "ras/umc_err_count": "ue: 1\nce: 22",
    "hwmon/hwmon4/temp2_label": "junction",
    "hwmon/hwmon4/temp2_input": "61000",
    "hwmon/hwmon4/temp3_label": "mem",
    "hwmon/hwmon4/temp3_input": "55500",
    "hwmon/hwmon4/power1_input": "712000000",
    "hwmon/hwmon4/power1_cap": "750000000",
    "hwmon/hwmon4/freq1_label": "sclk",
    "hwmon/hwmon4/freq1_input": "2100000000",
    "hwmon/hwmon4/freq2_label": "mclk",
    "hwmon/hwmon4/freq2_input": "1300000000",
  });
  assert.deepEqual(await read(dir.path), {
    state: "ok",
    gpus: [{
      gpu: 0,
      uuid: "9b2f3c4d5e6f7081",
      bus: "0000:0b:00.0",
      vendor: "amd",
      util_pct: 87,
      mem_util_pct: 31,
      mem_used_mib: 40_000,
      mem_total_mib: 196_592,
      temp_c: 61,
      mem_temp_c: 55.5,
      power_w: 712,
      power_limit_w: 750,
      sm_mhz: 2_100,
      mem_mhz: 1_300,
      ecc_uncorrected: 1,
      ecc_corrected: 22,
      pcie_gen: 5,
      pcie_width: 16,
    }],
  });
});

Deno.test("amdReader() takes AMD's cards only, in their order, however little they tell", async () => {
  await using dir = await tempDir("amd");
  await writeCard(dir.path, "card10", "0000:c1:00.0", { vendor: "0x1002", gpu_busy_percent: "1" });
  await writeCard(dir.path, "card2", "0000:41:00.0", {
    vendor: "0x1002",
    gpu_busy_percent: "garbage",
    "hwmon/hwmon0/temp1_input": "40000",
  });
  await writeCard(dir.path, "card0", "0000:01:00.0", { vendor: "0x10de", gpu_busy_percent: "9" });
  await Deno.mkdir(dir.join("class/drm/card2-DP-1"));
  await Deno.mkdir(dir.join("class/drm/renderD128"));
  assert.deepEqual(amdCards(dir.path), ["card2", "card10"]);
  assert.deepEqual((await read(dir.path))?.gpus, [
    { gpu: 0, bus: "0000:41:00.0", vendor: "amd", temp_c: 40 },
    { gpu: 1, bus: "0000:c1:00.0", vendor: "amd", util_pct: 1 },
  ]);
});

Deno.test("amdReader() gives nothing where there is no sysfs or no card", async () => {
  await using dir = await tempDir("amd");
  assert.equal(await read(dir.join("none")), undefined);
  await Deno.mkdir(dir.join("class/drm"), { recursive: true });
  assert.equal(await read(dir.path), undefined);
});
