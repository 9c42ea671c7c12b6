/**
 * Makes one failure of what went wrong on several hosts, each named with its own reason.
 *
 * @module
 */
import { EXIT, Failure, messageOf } from "../failure.ts";
import type { UnknownWhy } from "./facts.ts";
import type { Outcome } from "./hosts.ts";

const WHYS: Readonly<Record<string, UnknownWhy>> = {
  unreachable: "unreachable",
  login_refused: "login_refused",
  sudo: "sudo",
  runtime_missing: "runtime_missing",
  daemon: "daemon",
  permission: "permission",
  timeout: "timeout",
  agent: "agent",
  connection_lost: "agent",
  protocol: "protocol",
};

/** Why nothing is known of a host, of the error by which its connection or call failed. */
export function whyUnknown(error: unknown): UnknownWhy | undefined {
  return error instanceof Failure && Object.hasOwn(WHYS, error.code) ? WHYS[error.code] : undefined;
}

/** The errors by host. */
export function errorsOf<T>(outcomes: ReadonlyMap<string, Outcome<T>>): Map<string, unknown> {
  return new Map(
    [...outcomes].flatMap(([name, outcome]) => outcome.isDone ? [] : [[name, outcome.error] as const]),
  );
}

/** The values by host. */
export function valuesOf<T>(outcomes: ReadonlyMap<string, Outcome<T>>): Map<string, T> {
  return new Map(
    [...outcomes].flatMap(([name, outcome]) => outcome.isDone ? [[name, outcome.value] as const] : []),
  );
}

/**
 * All values, or a {@linkcode Failure} `Cannot <what>: …` that names every host which failed. An error that is no
 * Failure, and one for the whole command such as an interruption, is thrown as it is.
 */
export function allOrThrow<T>(what: string, outcomes: ReadonlyMap<string, Outcome<T>>): Map<string, T> {
  const errors = errorsOf(outcomes);
  if (errors.size > 0) throw failureOf(what, errors, outcomes.size);
  return valuesOf(outcomes);
}

/** See {@linkcode allOrThrow}; `total` is the number of hosts that were worked on. */
export function failureOf(what: string, errors: ReadonlyMap<string, unknown>, total: number): unknown {
  const all = [...errors.values()];
  const special = all.find((error) => !(error instanceof Failure) || error.code === "interrupted");
  if (special !== undefined) return special;
  const failures = all as Failure[];
  const first = failures[0]!;
  const on = total === 1 ? "" : ` on ${errors.size} of ${total} hosts`;
  const hints = new Set(failures.map(({ hint }) => hint).filter((hint) => hint !== undefined));
  return new Failure(
    exitOf(failures, total),
    `Cannot ${what}${on}: ${[...errors].map(([name, error]) => `${name}: ${messageOf(error)}`).join("; ")}`,
    {
      code: failures.every(({ code }) => code === first.code) ? first.code : "several_failures",
      hint: hints.size === 0 ? undefined : [...hints].join("; "),
      cause: first,
    },
  );
}

/** Unknown hosts outweigh all; what failed everywhere alike has its own status; else it is done in part. */
function exitOf(failures: readonly Failure[], total: number): number {
  if (failures.some((failure) => whyUnknown(failure) !== undefined)) return EXIT.UNKNOWN;
  const [first] = failures;
  const isAlike = failures.every(({ exitStatus }) => exitStatus === first!.exitStatus);
  return isAlike && failures.length === total ? first!.exitStatus : EXIT.PARTIAL;
}
