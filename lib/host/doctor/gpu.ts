/**
 * GPUs by their device files, and whether the vendor's program answers for them. nvidia-smi waits for ever
 * on some broken GPUs, and then even SIGKILL does not end it.
 *
 * @module
 */
import { errnoOf } from "../errno.ts";
import { type Check, type Finding, shown, worstOf } from "./check.ts";
import { findProgram, type ProgramEnd, runProgram } from "./program.ts";

/** Where the check looks. */
export interface GpuSources {
  readonly env: Readonly<Record<string, string>>;
  readonly dev: string;
}

/** Both vendors; a vendor of whom nothing is here is left out. */
export function gpuCheck(sources: GpuSources): Check {
  return { name: "gpu", look: (signal) => lookAtGpus(sources, signal) };
}

const COST = "GPU use, memory and faults are not seen";

async function lookAtGpus(sources: GpuSources, signal: AbortSignal): Promise<Finding> {
  const found = (await Promise.all([lookAtNvidia(sources, signal), lookAtAmd(sources, signal)]))
    .filter((finding) => finding !== undefined);
  if (found.length === 0) {
    return {
      state: "missing",
      detail: "no device (nvidia0, kfd) and no program (nvidia-smi, amd-smi, rocm-smi)",
      cost: COST,
      mend: "nothing, where there is no GPU; a container needs --gpus all, or /dev/kfd and /dev/dri",
    };
  }
  const state = worstOf(found.map((finding) => finding.state));
  const worst = found.find((finding) => finding.state === state)!;
  return { ...worst, detail: found.map(({ detail }) => detail).join("; ") };
}

async function lookAtNvidia({ env, dev }: GpuSources, signal: AbortSignal): Promise<Finding | undefined> {
  const devices = (await namesIn(dev)).filter((name) => /^nvidia\d+$/.test(name)).length;
  const program = await findProgram("nvidia-smi", env);
  if (program === undefined) {
    return devices === 0
      ? undefined
      : noProgram(`${counted(devices, "NVIDIA device")}, but no nvidia-smi on PATH`);
  }
  const args = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
  const ended = await runProgram({ argv: [program], env: {} }, args, { env, signal });
  const rows = ended.kind === "exit" && ended.code === 0
    ? ended.text.split("\n").filter((line) => line.includes(", "))
    : [];
  if (rows.length === 0) return fails("nvidia-smi", ended, counted(devices, "NVIDIA device"));
  const names = Map.groupBy(rows, (row) => row.split(", ")[0]!);
  const models = [...names].map(([name, { length }]) => `${length} × ${shown(name)}`).join(", ");
  const detail = `${models}, driver ${shown(rows[0]!.split(", ")[1]!.trim())}`;
  if (rows.length >= devices) return { state: "ok", detail };
  return {
    state: "degraded",
    detail: `${detail}; ${counted(devices, "device")}, but only ${rows.length} answer`,
    cost: "jobs that count on every GPU fail",
    mend: MEND_NVIDIA,
  };
}

const MEND_NVIDIA =
  "look for Xid in `dmesg`; reset the GPU (nvidia-smi --gpu-reset) or drain and reboot the node";

async function lookAtAmd({ env, dev }: GpuSources, signal: AbortSignal): Promise<Finding | undefined> {
  const [devices, renderers] = [await namesIn(dev), await namesIn(`${dev}/dri`)];
  const hasKfd = devices.includes("kfd");
  const nodes = renderers.filter((name) => name.startsWith("renderD")).length;
  const seen = `${dev}/kfd ${hasKfd ? "is there" : "is missing"}, ${counted(nodes, "render node")}`;
  const found = (await Promise.all(["amd-smi", "rocm-smi"].map((name) => findProgram(name, env))))
    .find((path) => path !== undefined);
  if (found === undefined) return hasKfd ? noProgram(`AMD: ${seen}, but no amd-smi on PATH`) : undefined;
  const name = found.slice(found.lastIndexOf("/") + 1);
  const args = name === "amd-smi" ? ["list"] : ["--showid"];
  const ended = await runProgram({ argv: [found], env: {} }, args, { env, signal });
  if (ended.kind !== "exit" || ended.code !== 0) return fails(name, ended, seen);
  if (hasKfd) return { state: "ok", detail: `${name} answers, ${seen}` };
  return {
    state: "degraded",
    detail: `${name} answers, but ${seen}`,
    cost: "nothing can be computed on AMD GPUs",
    mend: "load the amdgpu driver, or give the container --device /dev/kfd --device /dev/dri",
  };
}

function noProgram(detail: string): Finding {
  return {
    state: "degraded",
    detail,
    cost: COST,
    mend: "install the driver's programs; containers: NVIDIA_DRIVER_CAPABILITIES=compute,utility",
  };
}

function fails(name: string, ended: ProgramEnd, seen: string): Finding {
  const words = ended.kind === "hung"
    ? "does not answer"
    : ended.kind === "unusable"
    ? `cannot be started: ${ended.errno}`
    : ended.kind === "signal"
    ? `was ended by ${ended.signal}`
    : `says (exit ${ended.code}): ${shown(ended.text.split("\n")[0] || "nothing")}`;
  return {
    state: "degraded",
    detail: `${name} ${words}; ${seen}`,
    cost: ended.kind === "hung"
      ? "a broken GPU or driver: jobs on it hang, and may be impossible to kill"
      : COST,
    mend: name === "nvidia-smi" ? MEND_NVIDIA : "look for amdgpu in `dmesg`; drain and reboot the node",
  };
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => name);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return []; // not there, or not for us: no device either
  }
}

function counted(count: number, what: string): string {
  return `${count === 0 ? "no" : count} ${what}${count === 1 ? "" : "s"}`;
}
