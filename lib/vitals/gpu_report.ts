/**
 * What is known of GPUs: the keys of a GPU's line in their order, and the message by which the helper process tells
 * its parent.
 *
 * @module
 */

/** Keys that a GPU's line may have, in their order. */
export const GPU_KEYS = [
  "gpu",
  "uuid",
  "bus",
  "vendor",
  "util_pct",
  "mem_util_pct",
  "mem_used_mib",
  "mem_total_mib",
  "temp_c",
  "mem_temp_c",
  "power_w",
  "power_limit_w",
  "sm_mhz",
  "mem_mhz",
  "pstate",
  "throttle",
  "ecc_uncorrected",
  "ecc_corrected",
  "pcie_gen",
  "pcie_width",
  "recovery_action",
] as const;

/** One of them. */
export type GpuKey = typeof GPU_KEYS[number];

/** What one GPU says of itself; what it does not say is absent. */
export type GpuFacts = Partial<Record<GpuKey, string | number>>;

/** Who made it. */
export type GpuVendor = "nvidia" | "amd";

/**
 * How asking one vendor's GPUs went. `hung`: no answer within the deadline; `error`: an answer that is none, or only
 * for some GPUs; `no_tool`: nothing to ask with.
 */
export interface GpuReport {
  readonly vendor: GpuVendor;
  readonly state: "ok" | "hung" | "error" | "no_tool";
  /** What the tool said, one line. */
  readonly detail?: string | undefined;
  readonly gpus: readonly GpuFacts[];
}

/** Bound of one message; 64 GPUs take 30 kB. */
export const MESSAGE_LIMIT_CHARS = 262_144;
const GPUS_LIMIT = 256;
const TEXT_LIMIT = 200;
const VENDORS = new Set(["nvidia", "amd"]);
const STATES = new Set(["ok", "hung", "error", "no_tool"]);

/** The message for `reports`, without its newline. */
export function formatReports(reports: readonly GpuReport[]): string {
  return JSON.stringify(reports);
}

/** Reads a message; undefined when it is none, as when its writer was killed in the middle of it. */
export function parseReports(text: string): GpuReport[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  const reports = value.map(readReport);
  return reports.every((report) => report !== undefined) ? reports : undefined;
}

function readReport(value: unknown): GpuReport | undefined {
  const { vendor, state, detail, gpus } = (value ?? {}) as Record<string, unknown>;
  if (!VENDORS.has(vendor as string) || !STATES.has(state as string) || !Array.isArray(gpus)) {
    return undefined;
  }
  return {
    vendor: vendor as GpuVendor,
    state: state as GpuReport["state"],
    detail: typeof detail === "string" ? oneLine(detail) : undefined,
    gpus: gpus.slice(0, GPUS_LIMIT).map(readFacts),
  };
}

function readFacts(value: unknown): GpuFacts {
  const given = (value ?? {}) as Record<string, unknown>;
  const facts: GpuFacts = {};
  for (const key of GPU_KEYS) {
    const fact = given[key];
    if (typeof fact === "number" && Number.isFinite(fact)) facts[key] = fact;
    if (typeof fact === "string" && fact !== "") facts[key] = oneLine(fact);
  }
  return facts;
}

/** The first line of a text that is not empty, cut. */
export function oneLine(text: string): string {
  return (text.split("\n").find((line) => line.trim() !== "") ?? "").trim().slice(0, TEXT_LIMIT);
}
