/**
 * How a command says that davit is to end as the program that it ran did.
 *
 * @module
 */

/** Thrown by a command's action. main exits with `code`, or dies by the signal where that can be done; no message. */
export class ExitAs extends Error {
  override readonly name = "ExitAs";
  readonly code: number;
  /** A signal ended the program: `code` is 128 and its number. */
  readonly isSignal: boolean;

  constructor({ code, signal }: { code: number; signal: string | null }) {
    super(`exit as ${signal ?? code}`);
    this.code = code;
    this.isSignal = signal !== null && code > 128;
  }
}
