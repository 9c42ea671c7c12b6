/**
 * Starts a job's first process, and says in words why that cannot be done.
 *
 * @module
 */
import { messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import { unread } from "../host/no_input.ts";
import { jobArgv } from "./job_argv.ts";
import { jobEnvironment, largestVariables } from "./job_env.ts";
import type { CheckedSpec } from "./job_spec.ts";
import { type SessionStart, sessionStart } from "./own_session.ts";
import type { Fault } from "./protocol.ts";

/** Why there is no process. */
export class SpawnFailure extends Error {
  override readonly name = "SpawnFailure";
  /** As a shell would tell: 125, 126 or 127. */
  readonly code: number;
  readonly fault: Fault;

  constructor(message: string, code: number, fault: Fault) {
    super(message);
    this.code = code;
    this.fault = fault;
  }
}

/** What it starts from. */
export interface SpawnOptions {
  readonly spec: CheckedSpec;
  readonly baseEnv: Readonly<Record<string, string>>;
  readonly mark: string;
  /** Calls back for the one moment in which the process is made. */
  readonly around: <T>(spawn: () => T) => T;
}

/** A session of its own, two pipes, nothing to read or a third one. Throws a {@linkcode SpawnFailure}. */
export function spawnJob({ spec, baseEnv, mark, around }: SpawnOptions): Deno.ChildProcess {
  const { argv, instead } = jobArgv(spec.program);
  const { env, clearEnv } = jobEnvironment(spec, baseEnv, mark);
  const cwd = spec.cwd === undefined ? fallbackCwd() : checkedCwd(spec.cwd);
  const start = ({ argv: [program = "", ...args], detached }: SessionStart) => {
    const hasNull = !spec.hasInput && unread() === "null";
    const child = around(() =>
      new Deno.Command(program, {
        args,
        ...cwd === undefined ? {} : { cwd },
        clearEnv,
        env,
        stdin: hasNull ? "null" : "piped",
        stdout: "piped",
        stderr: "piped",
        detached,
      }).spawn()
    );
    if (!hasNull && !spec.hasInput) child.stdin.close().catch(() => {}); // it may have ended already, and nothing was written
    return child;
  };
  const paths = { path: env.PATH ?? (clearEnv ? undefined : baseEnv.PATH), cwd, base: baseEnv.PATH };
  try {
    return start(sessionStart(argv, paths));
  } catch (error) {
    if (errnoOf(error) === "EACCES" && instead !== undefined) {
      try {
        return start({ argv: instead, detached: true });
      } catch (second) {
        throw failureOf(instead[0]!, second, env, baseEnv);
      }
    }
    throw failureOf(argv[0]!, error, env, baseEnv);
  }
}

/** A directory that was removed under us is none to start in: every shell would complain. */
function fallbackCwd(): string | undefined {
  try {
    Deno.cwd();
    return undefined;
  } catch {
    return "/";
  }
}

function checkedCwd(cwd: string): string {
  let found: Deno.FileInfo;
  try {
    found = Deno.statSync(cwd);
  } catch (error) {
    const what = errnoOf(error) === "ENOENT" ? "there is no such directory" : messageOf(error);
    throw new SpawnFailure(`cannot change to directory "${cwd}": ${what}`, 125, "script");
  }
  if (!found.isDirectory) {
    throw new SpawnFailure(`cannot change to directory "${cwd}": it is no directory`, 125, "script");
  }
  return cwd;
}

function failureOf(
  program: string,
  error: unknown,
  env: Readonly<Record<string, string>>,
  baseEnv: Readonly<Record<string, string>>,
): SpawnFailure {
  const errno = errnoOf(error);
  const cannot = `cannot start "${program}"`;
  if (errno === "ENOENT" || error instanceof Deno.errors.NotFound) {
    const what = "there is no such program, or the interpreter that it names is missing";
    return new SpawnFailure(`${cannot}: ${what}`, 127, "script");
  }
  if (errno === "EACCES") return new SpawnFailure(`${cannot}: it may not be executed`, 126, "script");
  if (errno === "E2BIG") {
    const largest = largestVariables({ ...baseEnv, ...env }).join(", ");
    const what = `arguments and environment are too large together; the largest variables are ${largest}`;
    return new SpawnFailure(`${cannot}: ${what}`, 126, "script");
  }
  // EAGAIN, ENOMEM, EMFILE: limits of the container or the machine.
  return new SpawnFailure(`${cannot}: ${messageOf(error)}`, 125, "infra");
}
