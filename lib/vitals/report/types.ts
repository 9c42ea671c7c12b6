/**
 * The words of a verdict.
 *
 * @module
 */
import type { Evidence } from "./evidence.ts";
import type { Facts } from "./facts.ts";

/** Every verdict there is, in no order; README explains each in a line. */
export const VERDICT_CLASSES = [
  "clean_end",
  "oom_own",
  "oom_contained",
  "oom_guest",
  "oom_ancestor",
  "oom_other",
  "oom_numa",
  "gpu_fault",
  "kernel_fault",
  "disk_full",
  "inodes_full",
  "shm_full",
  "disk_fault",
  "pids_exhausted",
  "memory_starvation",
  "io_stall",
  "cpu_starvation",
  "cpu_throttled",
  "frozen",
  "polite_end",
  "job_failed",
  "host_event",
  "external_end",
  "probe_stopped",
  "log_lost",
  "inconclusive",
] as const;

/** One of them. */
export type VerdictClass = typeof VERDICT_CLASSES[number];

/** How sure it is. */
export type Confidence = "high" | "medium" | "low";

/** Something that a rule saw. */
export interface Finding {
  readonly class: VerdictClass;
  readonly confidence: Confidence;
  /** A sentence; may quote names from the log, so it is untrusted too. */
  readonly summary: string;
  readonly evidence: readonly Evidence[];
  /** What a person should look at next. */
  readonly check: readonly string[];
}

/** The first rule that matched, and the rest. */
export interface Verdict extends Finding {
  readonly alsoSeen: readonly Finding[];
  /** What could not be seen in this log, so that nothing is concluded from its absence. */
  readonly notObservable: readonly string[];
}

/** Looks at the facts for one thing. */
export type Rule = (facts: Facts) => Finding | undefined;
