/**
 * Runs `davit doctor --json` in surroundings that a test makes, and looks up single lines of its report.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Check, Checked, Finding, Report } from "../lib/host/doctor/check.ts";
import { davitArgv, davitEnv, run } from "./run.ts";

/** The surroundings. */
export interface DoctorOptions {
  readonly args?: readonly string[];
  readonly env?: Record<string, string | undefined>;
  /** What davit's command line is put behind: strace, setpriv … */
  readonly wrap?: readonly string[];
  /**
   * A shell script that runs before, in mount namespaces of its own; `$1` is the directory that --dir
   * names.
   */
  readonly mounts?: string;
  readonly directory?: string;
}

/** The line of a report. */
export type Line = (name: string, place?: string) => Checked;

/** Runs it to its end; fails unless it made a report. */
export async function examineWith(options: DoctorOptions = {}): Promise<Line> {
  const { args = [], env = {}, wrap = [], mounts, directory } = options;
  const namespaces = mounts === undefined
    ? []
    : ["unshare", "--mount", "sh", "-euc", `${mounts}\nshift; exec "$@"`, "sh", directory ?? ""];
  const dir = directory === undefined ? [] : ["--dir", directory];
  const argv = [...namespaces, ...wrap, ...davitArgv(["doctor", "--json", ...dir, ...args])];
  const { code, stdout, stderr } = await run(argv, { env: davitEnv(env), timeoutMs: 90_000 });
  assert.equal(code, 0, stderr);
  return lineOf(JSON.parse(stdout) as Report);
}

/** Looks up lines of `report`; fails where there is none. */
export function lineOf({ checks }: Report): Line {
  return (name, place) => {
    const found = checks.find((line) => line.name === name && (place === undefined || line.place === place));
    return found ?? assert.fail(`no line ${name} ${place ?? ""} in ${JSON.stringify(checks)}`);
  };
}

/** Makes one check, with a deadline of its own. */
export async function look(check: Check, deadlineMs = 10_000): Promise<Finding> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), deadlineMs);
  return await check.look(deadline.signal).finally(() => clearTimeout(timer));
}

/** Fails unless the finding is `state` and says `detail`; whatever is not ok also says what it costs. */
export function assertFinding(finding: Finding, state: Finding["state"], detail: RegExp): void {
  assert.equal(finding.state, state, JSON.stringify(finding));
  assert.match(finding.detail, detail);
  if (state !== "ok") assert.ok(finding.cost, `${JSON.stringify(finding)} has no cost`);
}

/** A directory of programs in testdata/bin. */
export function binDir(name: string): string {
  return decodeURIComponent(new URL(`./bin/${name}`, import.meta.url).pathname);
}

/** A command line that makes system calls fail or lie: `inject` as in strace(1). */
export function injecting(...inject: string[]): string[] {
  return ["strace", "-f", "-qq", "-o", "/dev/null", ...inject.flatMap((expression) => ["-e", expression])];
}
