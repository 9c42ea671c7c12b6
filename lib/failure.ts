/**
 * The one error that operators see, and the exit codes that scripts see. Codes follow sysexits.h (64–78);
 * 3, 4 and 5 are davit's own and say what became of a plan. lib throws, cmd does not catch, main prints once.
 *
 * @module
 */

/** Exit statuses by name; a signal's end is 128 plus its number and needs no entry. */
export const EXIT = {
  REFUSED: 3,
  UNKNOWN: 4,
  PARTIAL: 5,
  USAGE: 64,
  DATAERR: 65,
  NOINPUT: 66,
  UNAVAILABLE: 69,
  SOFTWARE: 70,
  OSERR: 71,
  CANTCREAT: 73,
  IOERR: 74,
  TEMPFAIL: 75,
  PROTOCOL: 76,
  NOPERM: 77,
  CONFIG: 78,
} as const;

/** The name of one exit status. */
export type ExitName = keyof typeof EXIT;

/** What a failure carries beside its sentence. */
export interface FailureOptions {
  /** A stable word for scripts (`error.code` of `--json`), snake_case. */
  code: string;
  /** How to mend it, one line. */
  hint?: string | undefined;
  cause?: unknown;
}

/**
 * An error meant for the person at the keyboard: `Cannot <verb> "<thing>": <what is>, <what was wanted>`.
 * Everything else that is thrown is a bug and ends with exit 70 and its stack.
 */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly exitStatus: number;
  readonly code: string;
  readonly hint: string | undefined;

  constructor(exit: ExitName | number, message: string, { code, hint, cause }: FailureOptions) {
    super(message, cause === undefined ? undefined : { cause });
    this.exitStatus = typeof exit === "number" ? exit : EXIT[exit];
    this.code = code;
    this.hint = hint;
  }
}

/** The sentence of anything that was thrown, for use inside another sentence. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
