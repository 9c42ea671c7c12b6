/**
 * The kernel itself failed: panic, lockups, stalls, fatal hardware errors, or a reboot that nobody announced.
 *
 * @module
 */
import { evidence } from "../evidence.ts";
import type { Facts } from "../facts.ts";
import type { LogRecord } from "../record.ts";
import type { Finding } from "../types.ts";

const CHECK = ["/sys/fs/pstore and the host's or hypervisor's log: a kernel's last words go there"];

/** Lines of the kernel, or another boot after a run without an end. */
export function kernelFault(facts: Facts): Finding | undefined {
  const lines = [
    ...facts.recentKernel("panic", "soft_lockup", "rcu_stall"),
    ...facts.recentKernel("mce").filter((line) => line.get("class") === "fatal"),
  ];
  const reboot = rebootAfter(facts);
  if (lines.length > 0) {
    return {
      class: "kernel_fault",
      confidence: "high",
      summary: `The kernel reported ${
        [...new Set(lines.map((line) => line.get("tag")))].join(", ")
      } before the end`,
      evidence: [...lines.slice(0, 5), ...reboot === undefined ? [] : [reboot]].map((line) => evidence(line)),
      check: CHECK,
    };
  }
  if (reboot === undefined) return undefined;
  return {
    class: "kernel_fault",
    confidence: "medium",
    summary: "The machine was booted anew without a goodbye of the probe",
    evidence: [
      ...facts.last === undefined ? [] : [evidence(facts.last)],
      evidence(reboot, "another boot_id"),
    ],
    check: [...CHECK, "whether somebody or the scheduler reset the machine"],
  };
}

/** The start line after this run, when it is of another boot and this run has no end. */
function rebootAfter({ run: { start, end, next } }: Facts): LogRecord | undefined {
  const [before, after] = [start?.get("boot_id"), next?.get("boot_id")];
  const isReboot = end === undefined && before !== undefined && after !== undefined && before !== after;
  return isReboot ? next : undefined;
}
