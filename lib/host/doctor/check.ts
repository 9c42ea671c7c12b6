/**
 * What a check of `davit doctor` is and what it finds.
 *
 * @module
 */
import { messageOf } from "../../failure.ts";
import { errnoOf } from "../errno.ts";
import { escapeControls } from "../logfmt.ts";

/** From best to worst. degraded: there, but not as it should be; missing: not there, or of no use. */
export const STATES = ["ok", "degraded", "missing"] as const;

/** One of {@linkcode STATES}. */
export type State = typeof STATES[number];

/** What one look found; all texts are escaped. */
export interface Finding {
  readonly state: State;
  /** What is. */
  readonly detail: string;
  /** What it costs the user of davit. */
  readonly cost?: string;
  /** How to mend it. */
  readonly mend?: string;
}

/** One line of the report. */
export interface Check {
  readonly name: string;
  /** Which of several things of that name: a directory. */
  readonly place?: string;
  /**
   * Looks. `signal` aborts a second before nobody waits any more, so that a look can say what it waited
   * for.
   */
  look(signal: AbortSignal): Promise<Finding>;
}

/** A line with what was found. */
export type Checked = Pick<Check, "name" | "place"> & Finding;

/** The answer of `davit doctor --json`. */
export interface Report {
  readonly schema: 1;
  readonly checks: readonly Checked[];
  /** The worst of all. */
  readonly state: State;
}

/** The worst of `states`; ok when there are none. */
export function worstOf(states: readonly State[]): State {
  return STATES[Math.max(0, ...states.map((state) => STATES.indexOf(state)))]!;
}

const SHOWN_CHARS = 200;
const WORDS: Readonly<Record<string, string>> = {
  EACCES: "no permission",
  EPERM: "no permission",
  ENOENT: "it is not there",
  ENOTDIR: "it is not a directory",
  EROFS: "the filesystem is read-only",
  ENOSPC: "the filesystem is full",
  EDQUOT: "the quota is used up",
  ESTALE: "the file server no longer knows it",
  ENOTCONN: "the filesystem's server is gone",
};

/** The reason of a failed call, with its errno. */
export function reasonOf(error: unknown): string {
  const errno = errnoOf(error);
  if (errno === undefined) return shown(messageOf(error));
  return WORDS[errno] === undefined ? errno : `${WORDS[errno]} (${errno})`;
}

/** Foreign text as it may be shown, cut to a line's share. */
export function shown(text: string): string {
  return escapeControls(text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text);
}
