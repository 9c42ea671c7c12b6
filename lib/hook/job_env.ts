/**
 * The environment of a job: the server's, changed as its spec says, and the mark by which its processes are known.
 *
 * @module
 */
import type { CheckedSpec } from "./job_spec.ts";

/** What `Deno.Command` gets. */
export interface JobEnvironment {
  readonly clearEnv: boolean;
  readonly env: Readonly<Record<string, string>>;
}

/** The variable that says whose job a process belongs to. */
export const MARK = "DAVIT_HOOK_JOB";

/** Of execvp(3) where there is none; with the directories of root, whose container has them. */
export const STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** `base` is the server's environment. */
export function jobEnvironment(
  { env, prependPath }: Pick<CheckedSpec, "env" | "prependPath">,
  base: Readonly<Record<string, string>>,
  mark: string,
): JobEnvironment {
  const changes: Record<string, string | null> = { ...env, [MARK]: mark };
  if (prependPath.length > 0) {
    const path = env.PATH === undefined ? base.PATH : env.PATH;
    changes.PATH = [...prependPath, path || STANDARD_PATH].join(":");
  }
  const isTaken = (name: string) => changes[name] === null && base[name] !== undefined;
  const given = Object.entries(changes).filter((entry): entry is [string, string] => entry[1] !== null);
  // Only then: a variable that is no UTF-8 is handed on by the system and cannot be by us.
  if (!Object.keys(changes).some(isTaken)) return { clearEnv: false, env: Object.fromEntries(given) };
  const kept = Object.entries(base).filter(([name]) => changes[name] === undefined);
  return { clearEnv: true, env: Object.fromEntries([...kept, ...given]) };
}

/** The largest variables, for a command line and environment that are too large together. */
export function largestVariables(env: Readonly<Record<string, string>>, count = 3): string[] {
  const sizes = Object.entries(env).map(([name, value]) => [name, name.length + value.length] as const);
  return sizes.toSorted(([, one], [, other]) => other - one).slice(0, count).map(([name, size]) =>
    `${name} ${size} bytes`
  );
}
