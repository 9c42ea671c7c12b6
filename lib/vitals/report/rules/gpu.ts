/**
 * The GPU or its driver failed: by the kernel log (Xid, NVSwitch's SXid, amdgpu), or by a query that hangs or that
 * finds fewer GPUs than before.
 *
 * @module
 */
import { evidence } from "../evidence.ts";
import type { Facts } from "../facts.ts";
import type { LogRecord } from "../record.ts";
import type { Finding } from "../types.ts";

/** Classes of the tagged lines that end a job; an application's Xid ends it too, but is its own fault. */
const FATAL = new Set(["fatal", "timeout", "reset", "reset_failed", "vram_lost", "page_fault", "firmware"]);
const RESET_CHECK = "`nvidia-smi -q` for the GPU's recovery action, and drain the node until it is reset";

/** Kernel lines first, as they come even when queries hang. */
export function gpuFault(facts: Facts): Finding | undefined {
  const lines = facts.recentKernel("xid", "gpu_off_bus", "sxid", "amdgpu");
  const fatal = lines.filter((line) => FATAL.has(line.get("class") ?? ""));
  const application = lines.filter((line) => line.get("class") === "application");
  const sampler = samplerSigns(facts);
  if (fatal.length > 0) {
    return {
      class: "gpu_fault",
      confidence: "high",
      summary: `A GPU or its driver failed: ${named(fatal[0]!)}`,
      evidence: [...fatal.slice(0, 5), ...sampler].map((record) => evidence(record)),
      check: [RESET_CHECK, "the same GPU in earlier jobs: it may have failed before"],
    };
  }
  if (sampler.length > 0) return samplerFinding(sampler);
  if (application.length === 0) return undefined;
  return {
    class: "gpu_fault",
    confidence: "medium",
    summary: `A program's use of the GPU failed: ${named(application[0]!)}`,
    evidence: application.slice(0, 5).map((record) => evidence(record)),
    check: [
      "the job's own output: an application Xid is most often a bug of the program (`compute-sanitizer`)",
    ],
  };
}

function named(line: LogRecord): string {
  const tag = line.get("tag");
  if (tag === "xid") return `Xid ${line.get("xid")}`;
  if (tag === "sxid") return `SXid ${line.get("sxid")}`;
  return tag === "gpu_off_bus" ? "it has fallen off the bus" : `amdgpu ${line.get("class")}`;
}

/** What the GPU sampler itself says: the last state of each GPU, and its events. */
function samplerSigns(facts: Facts): LogRecord[] {
  const last = new Map<string, LogRecord>();
  for (const line of facts.run.gpus.filter((gpu) => facts.isRecent(gpu))) {
    last.set(line.get("uuid") ?? line.get("gpu") ?? "", line);
  }
  const bad = [...last.values()].filter((line) => ["hung", "missing"].includes(line.get("gpu_state") ?? ""));
  return [...bad, ...facts.recentEvents("gpu_lost", "gpu_hung")];
}

function samplerFinding(records: readonly LogRecord[]): Finding {
  return {
    class: "gpu_fault",
    confidence: "medium",
    summary: "A GPU went missing, or its driver stopped answering",
    evidence: records.slice(0, 5).map((record) => evidence(record)),
    check: ["the host's kernel log for Xid lines of that time", RESET_CHECK],
  };
}
