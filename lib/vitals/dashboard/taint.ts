/**
 * Taints of Kubernetes nodes and what tolerates them.
 *
 * @module
 */
import { Failure } from "../../failure.ts";

/** A taint, as `kubectl taint` writes it: KEY[=VALUE]:EFFECT. */
export interface Taint {
  readonly key: string;
  readonly value: string | undefined;
  readonly effect: string;
}

/** A toleration, as manifests have it. */
export interface Toleration {
  readonly key?: string;
  readonly operator: "Equal" | "Exists";
  readonly value?: string;
  readonly effect?: string;
}

const TAINT_REGEXP = /^([A-Za-z0-9][\w./-]*)(?:=([\w.-]*))?:(NoSchedule|PreferNoSchedule|NoExecute)$/;

/** Reads a taint; throws a Failure on anything else. */
export function parseTaint(text: string): Taint {
  const match = TAINT_REGEXP.exec(text);
  if (match === null) {
    throw new Failure("USAGE", `Cannot use --taint "${text}": expected KEY[=VALUE]:EFFECT`, {
      code: "usage",
      hint: "as `kubectl describe node` shows it: example.com/runner=gpu:NoSchedule",
    });
  }
  return { key: match[1]!, value: match[2], effect: match[3]! };
}

/** What tolerates exactly this taint. */
export function tolerationOf({ key, value, effect }: Taint): Toleration {
  return value === undefined
    ? { key, operator: "Exists", effect }
    : { key, operator: "Equal", value, effect };
}

/** Whether something written as a toleration tolerates the taint; Kubernetes, "Taints and Tolerations". */
export function tolerates(written: unknown, taint: Taint): boolean {
  if (typeof written !== "object" || written === null) return false;
  const { key, operator = "Equal", value = "", effect } = written as Record<string, unknown>;
  if (effect !== undefined && effect !== "" && effect !== taint.effect) return false;
  if (operator === "Exists") return key === undefined || key === "" || key === taint.key;
  return key === taint.key && value === (taint.value ?? "");
}
