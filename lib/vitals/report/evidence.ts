/**
 * Lines of a log that speak for a finding.
 *
 * @module
 */
import type { LogRecord } from "./record.ts";

/** One line. */
export interface Evidence {
  readonly tsMs: number;
  /** Verbatim and untrusted: escape it before a terminal or HTML sees it. */
  readonly text: string;
  /** What in it matters, where that is not plain. */
  readonly note?: string | undefined;
}

/** A record as evidence. */
export function evidence({ tsMs, text }: LogRecord, note?: string): Evidence {
  return { tsMs, text, note };
}
