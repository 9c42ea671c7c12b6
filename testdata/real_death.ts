/**
 * Has davit watch something that really happens, and then has it report: for tests of verdicts on real logs.
 *
 * @module
 */
import { davit, davitArgv, davitEnv, type LiveProcess, start } from "./run.ts";

/** One log's part of `davit vitals report --json`, as far as tests look at it. */
export interface ReportedLog {
  readonly class: string;
  readonly confidence: string;
  readonly summary: string;
  readonly also_seen: readonly { readonly class: string }[];
  readonly samples: number;
  readonly torn: number;
}

/** What other tests, which run at the same time on the same kernel, may add to any log. */
const OF_OTHERS = ["cpu_starvation", "io_stall", "oom_other"];

/** The report on a log's text. */
export async function reportOn(text: string, args: readonly string[] = []): Promise<ReportedLog> {
  const { code, stdout, stderr } = await davit(["vitals", "report", "-", "--json", ...args], { stdin: text });
  if (code !== 0) throw new Error(`the report ended with ${code}: ${stderr}`);
  return JSON.parse(stdout).logs[0];
}

/** The verdict, and what else rules made of the log, but for what is other tests' doing. */
export function classesOf({ class: verdict, also_seen }: ReportedLog): string[] {
  return [verdict, ...also_seen.map((finding) => finding.class).filter((name) => !OF_OTHERS.includes(name))];
}

/** `davit vitals run` with `args`, after shell text that prepares its surroundings, in namespaces where given. */
export function startWatched(
  args: readonly string[],
  { prepare = ":", unshare = [] }: { prepare?: string; unshare?: readonly string[] } = {},
): LiveProcess {
  const argv = davitArgv(["vitals", "run", "--interval", "200ms", ...args]);
  const inside = ["sh", "-ec", `${prepare}; exec "$@"`, "sh", ...argv];
  return start(unshare.length === 0 ? inside : ["unshare", ...unshare, ...inside], { env: davitEnv() });
}

/** The time of a log's last line, milliseconds since the epoch. */
export function lastMsOf(text: string): number {
  return Date.parse(/.* ts=(\S+) /.exec(text.trimEnd().split("\n").at(-1)!)![1]!);
}
