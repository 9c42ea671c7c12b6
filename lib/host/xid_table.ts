/**
 * What the numbers of NVIDIA's Xid messages mean for a job. Names follow NVIDIA's Xid catalogue; the classes are those
 * that alerting in the field uses, and a number without a class is reported as `other`.
 *
 * @module
 */

/**
 * fatal: the GPU or its memory is not to be trusted until it is reset; application: most often a fault of the
 * program that used it; degraded: it works on, a reset or a replacement is due; advice: the driver says what to do.
 */
export type XidClass = "fatal" | "application" | "degraded" | "advice" | "other";

/** One number. */
export interface XidSpec {
  readonly class: XidClass;
  readonly name: string;
}

/** The known numbers. */
export const XID_TABLE: Readonly<Record<number, XidSpec>> = {
  8: { class: "other", name: "GPU stopped processing" },
  13: { class: "application", name: "graphics engine exception" },
  31: { class: "application", name: "GPU memory page fault" },
  32: { class: "other", name: "invalid or corrupted push buffer stream" },
  38: { class: "other", name: "driver firmware error" },
  43: { class: "application", name: "GPU stopped processing" },
  44: { class: "other", name: "graphics engine fault during context switch" },
  45: { class: "application", name: "preemptive cleanup, due to previous errors" },
  48: { class: "fatal", name: "double bit ECC error" },
  61: { class: "other", name: "internal micro-controller breakpoint" },
  62: { class: "fatal", name: "internal micro-controller halt" },
  63: { class: "degraded", name: "page retirement or row remapping recorded" },
  64: { class: "fatal", name: "page retirement or row remapping failed" },
  68: { class: "other", name: "video decoder exception" },
  69: { class: "other", name: "graphics engine class error" },
  74: { class: "fatal", name: "NVLink error" },
  79: { class: "fatal", name: "GPU has fallen off the bus" },
  92: { class: "degraded", name: "high single-bit ECC error rate" },
  94: { class: "degraded", name: "contained memory error" },
  95: { class: "fatal", name: "uncontained memory error" },
  109: { class: "other", name: "context switch timeout" },
  119: { class: "fatal", name: "GSP remote procedure call timeout" },
  120: { class: "fatal", name: "GSP error" },
  140: { class: "other", name: "unrecovered ECC error" },
  143: { class: "other", name: "GPU initialization failure" },
  149: { class: "other", name: "NVLink network interface error" },
  154: { class: "advice", name: "GPU recovery action changed" },
};

/** The class of an Xid. */
export function xidClass(xid: number): XidClass {
  return XID_TABLE[xid]?.class ?? "other";
}
