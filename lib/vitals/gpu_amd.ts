/**
 * AMD GPUs by sysfs (kernel document: Documentation/gpu/amdgpu, "GPU Power/Thermal Controls and Monitoring"). No tool
 * is run. Reading may wake a GPU, and waits while one is being reset.
 *
 * @module
 */
import type { GpuFacts, GpuKey } from "./gpu_report.ts";
import type { ReadGpus } from "./gpu_source.ts";

const AMD_VENDOR = "0x1002";
const MIB = 2 ** 20;
/** Transfers a second by generation of the link. */
const PCIE_GENERATIONS: Readonly<Record<string, number>> = {
  "2.5": 1,
  "5.0": 2,
  "8.0": 3,
  "16.0": 4,
  "32.0": 5,
  "64.0": 6,
};

/** Names of the cards that AMD made below `sys`, in their order; none where nothing can be read. */
export function amdCards(sys: string): string[] {
  try {
    return [...Deno.readDirSync(`${sys}/class/drm`)]
      .map(({ name }) => name)
      .filter((name) => /^card\d+$/.test(name) && isAmd(`${sys}/class/drm/${name}`))
      .sort((left, right) => Number(left.slice(4)) - Number(right.slice(4)));
  } catch {
    return []; // no DRM, no GPU
  }
}

function isAmd(card: string): boolean {
  try {
    return Deno.readTextFileSync(`${card}/device/vendor`).trim() === AMD_VENDOR;
  } catch {
    return false;
  }
}

/** Makes the reader. */
export function amdReader({ sys = "/sys" }: { sys?: string } = {}): ReadGpus {
  return async () => {
    const cards = amdCards(sys);
    if (cards.length === 0) return undefined;
    const gpus = await Promise.all(cards.map((card, index) => readCard(`${sys}/class/drm/${card}`, index)));
    return { state: "ok", gpus };
  };
}

async function readCard(card: string, index: number): Promise<GpuFacts> {
  const device = `${card}/device`;
  const hwmon = await findHwmon(device);
  const texts = async (...paths: string[]) => {
    for (const path of paths) {
      const text = await readText(path);
      if (text !== undefined) return text;
    }
    return undefined;
  };
  const temperature = await labelled(hwmon, "temp", ["edge", "junction"]) ??
    await texts(`${hwmon}/temp1_input`);
  const facts: [GpuKey, string | number | undefined][] = [
    ["gpu", index],
    ["uuid", await readText(`${device}/unique_id`)],
    ["bus", await busOf(device)],
    ["vendor", "amd"],
    ["util_pct", numberOf(await texts(`${device}/gpu_busy_percent`))],
    ["mem_util_pct", numberOf(await texts(`${device}/mem_busy_percent`))],
    ["mem_used_mib", numberOf(await texts(`${device}/mem_info_vram_used`), 1 / MIB, 0)],
    ["mem_total_mib", numberOf(await texts(`${device}/mem_info_vram_total`), 1 / MIB, 0)],
    ["temp_c", numberOf(temperature, 1e-3, 1)],
    ["mem_temp_c", numberOf(await labelled(hwmon, "temp", ["mem"]), 1e-3, 1)],
    ["power_w", numberOf(await texts(`${hwmon}/power1_average`, `${hwmon}/power1_input`), 1e-6, 2)],
    ["power_limit_w", numberOf(await texts(`${hwmon}/power1_cap`), 1e-6, 2)],
    ["sm_mhz", numberOf(await labelled(hwmon, "freq", ["sclk"]), 1e-6, 0)],
    ["mem_mhz", numberOf(await labelled(hwmon, "freq", ["mclk"]), 1e-6, 0)],
    ["ecc_uncorrected", errorsOf(await texts(`${device}/ras/umc_err_count`), "ue")],
    ["ecc_corrected", errorsOf(await texts(`${device}/ras/umc_err_count`), "ce")],
    ["pcie_gen", PCIE_GENERATIONS[(await texts(`${device}/current_link_speed`))?.split(" ")[0] ?? ""]],
    ["pcie_width", numberOf(await texts(`${device}/current_link_width`))],
  ];
  return Object.fromEntries(facts.filter(([, value]) => value !== undefined));
}

async function findHwmon(device: string): Promise<string> {
  try {
    const names: string[] = [];
    for await (const { name } of Deno.readDir(`${device}/hwmon`)) names.push(name);
    return `${device}/hwmon/${names.sort()[0] ?? "none"}`;
  } catch {
    return `${device}/hwmon/none`;
  }
}

/** The input of the sensor that has one of the labels, the first label that any has. */
async function labelled(
  hwmon: string,
  kind: string,
  labels: readonly string[],
): Promise<string | undefined> {
  for (const label of labels) {
    for (let index = 1; index <= 3; index++) {
      if (await readText(`${hwmon}/${kind}${index}_label`) !== label) continue;
      return await readText(`${hwmon}/${kind}${index}_input`);
    }
  }
  return undefined;
}

async function busOf(device: string): Promise<string | undefined> {
  try {
    const bus = (await Deno.realPath(device)).split("/").at(-1)!;
    return /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d$/.test(bus) ? bus : undefined;
  } catch {
    return undefined;
  }
}

/** The text of a file; undefined where it is absent or cannot be read: which exist differs by GPU and kernel. */
async function readText(path: string): Promise<string | undefined> {
  try {
    const text = (await Deno.readTextFile(path)).trim();
    return text === "" ? undefined : text;
  } catch {
    return undefined;
  }
}

function numberOf(text: string | undefined, factor = 1, decimals = 0): number | undefined {
  if (text === undefined || !/^-?\d{1,18}$/.test(text)) return undefined;
  return Number((Number(text) * factor).toFixed(decimals));
}

/** "ue: 0\nce: 3" */
function errorsOf(text: string | undefined, name: "ue" | "ce"): number | undefined {
  return numberOf(new RegExp(`^${name}: *(\\d+)$`, "m").exec(text ?? "")?.[1]);
}
