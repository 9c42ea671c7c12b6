/**
 * From log files to judged logs: reads each, and judges each with the others as its siblings.
 *
 * @module
 */
import { Failure, messageOf } from "../../failure.ts";
import { errnoOf } from "../../host/errno.ts";
import { isRing, readRingPages, RING_PAGE_BYTES } from "../ring_file.ts";
import { verdictOf } from "../verdict.ts";
import { evidence } from "./evidence.ts";
import { Facts, type Sibling, type VerdictOptions } from "./facts.ts";
import type { History, Run } from "./history.ts";
import { chunksOf, readLog, type ReadOptions } from "./reader.ts";
import { type Verdict, VERDICT_CLASSES, type VerdictClass } from "./types.ts";

/** A log, the run in it that was asked for, and what is thought of it. */
export interface JudgedLog {
  readonly history: History;
  readonly run: Run | undefined;
  readonly verdict: Verdict;
  /** Verdicts of the runs before it, oldest first. */
  readonly earlier: readonly { readonly run: Run; readonly verdict: Verdict }[];
}

/** Reads a file; "-" is `stdin`. Throws a Failure that says what is wrong with it. */
export async function readLogFile(
  path: string,
  { stdin, ...options }: Omit<ReadOptions, "name"> & { readonly stdin: Pick<Deno.FsFile, "read"> },
): Promise<History[]> {
  if (path === "-") return await readLog(chunksOf(stdin), { ...options, name: "stdin" });
  try {
    using file = await Deno.open(path);
    const chunks = await beginsAsRing(file) ? ringChunks(path) : chunksOf(file);
    return await readLog(chunks, { ...options, name: path });
  } catch (error) {
    const errno = errnoOf(error);
    if (error instanceof Failure || errno === undefined) throw error;
    const isMissing = errno === "ENOENT" || errno === "ENOTDIR";
    throw new Failure(
      isMissing ? "NOINPUT" : "IOERR",
      `Cannot read log "${path}": ${isMissing ? "there is no such file" : messageOf(error)}`,
      { code: isMissing ? "absent" : "unreadable", cause: error },
    );
  }
}

/** Of a pipe nothing may be read twice. */
async function beginsAsRing(file: Deno.FsFile): Promise<boolean> {
  if (!(await file.stat()).isFile) return false;
  const head = new Uint8Array(RING_PAGE_BYTES);
  const count = await file.read(head);
  await file.seek(0, Deno.SeekMode.Start);
  return isRing(head.subarray(0, count ?? 0));
}

async function* ringChunks(path: string): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const lines of readRingPages(path)) yield encoder.encode(lines);
}

/** Judges all logs; those of which nothing was found too. */
export function judgeLogs(
  histories: readonly History[],
  options: Omit<VerdictOptions, "siblings">,
): JudgedLog[] {
  const chosen = histories.map((history) => ({ history, run: runAt(history, options.endedMs) }));
  return chosen.map(({ history, run }) => {
    const siblings = chosen.filter((other) => other.history !== history)
      .flatMap((other) => other.run === undefined ? [] : siblingOf(other.history, other.run));
    const index = run === undefined ? 0 : history.runs.indexOf(run);
    return {
      history,
      run,
      verdict: verdictOf(history, { ...options, siblings }, run),
      earlier: history.runs.slice(0, index).map((before) => ({
        run: before,
        verdict: verdictOf(history, {}, before),
      })),
    };
  });
}

/** A probe that was killed with its command has a successor that says how both ended; `--ended` has whole seconds. */
const SUCCESSOR_MS = 5_000;

/** The run that was on when the job ended; the last one where nobody says when that was. */
function runAt({ runs }: History, endedMs: number | undefined): Run | undefined {
  if (endedMs === undefined) return runs.at(-1);
  const beganMs = ({ start, samples, events }: Run) => {
    const isSuccessor = events.some((event) => event.get("event") === "restarted");
    return (start ?? samples[0])!.tsMs - (isSuccessor ? SUCCESSOR_MS : 0);
  };
  return runs.findLast((run) => beganMs(run) <= endedMs) ?? runs[0];
}

function siblingOf(history: History, run: Run): Sibling {
  const { start, end, samples, events } = run;
  const last = samples.at(-1);
  return {
    name: history.name,
    lastMs: Math.max(0, ...[start, end, last, events.at(-1)].map((record) => record?.tsMs ?? 0)),
    hasEnd: end !== undefined || new Facts(history, run).isQuiet,
    bootId: start?.get("boot_id"),
    last: last === undefined ? undefined : evidence(last, history.name),
  };
}

/** Names that `--fail-on` takes beside the classes. */
export const CLASS_GROUPS: Readonly<Record<string, (name: VerdictClass) => boolean>> = {
  oom: (name) => name.startsWith("oom_") && name !== "oom_contained" && name !== "oom_other",
  any: (name) => !["clean_end", "oom_other"].includes(name),
};

/** The words of `--fail-on`, or a Failure that names what there is. */
export function parseClasses(words: readonly string[]): string[] {
  const known: readonly string[] = [...VERDICT_CLASSES, ...Object.keys(CLASS_GROUPS)];
  const wanted = words.map((word) => word.trim()).filter((word) => word !== "");
  const unknown = wanted.find((word) => !known.includes(word));
  if (unknown === undefined) return wanted;
  throw new Failure("USAGE", `Cannot use --fail-on "${unknown}": expected one of ${known.join(", ")}`, {
    code: "usage",
  });
}

/** The classes that a log's verdict has or also saw, of those asked for. */
export function matchedClasses({ verdict }: JudgedLog, wanted: readonly string[]): VerdictClass[] {
  return [verdict, ...verdict.alsoSeen].map((finding) => finding.class)
    .filter((name) => wanted.some((want) => want === name || CLASS_GROUPS[want]?.(name)));
}
