/**
 * Counts what a test run did, from Deno's JUnit file, its exit status and the reasons that needs() recorded.
 *
 * @module
 */
import type { SkipRecord } from "../testdata/needs.ts";
import { parseJunit, type TestCase } from "./junit.ts";

/** The outcome of a run; `failed` is zero exactly when all is well. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
  /** Sentences about failures that are no single test's. */
  faults: string[];
  skippedCases: { place: string; name: string; reason: string }[];
}

/** Where the run left its traces. */
export interface Traces {
  readonly junit: string;
  readonly skips: string;
  /** Of deno test. */
  readonly status: number;
  readonly isCi: boolean;
  /** File names are shown relative to it. */
  readonly root: string;
}

/** Reads the traces; a missing JUnit file (nothing was run: a type error, a killed deno) is a failed run. */
export async function judge({ junit, skips, status, isCi, root }: Traces): Promise<Counts> {
  const cases = parseJunit(await readIfThere(junit), root);
  const lines = (await Deno.readTextFile(skips)).trim().split("\n").filter(Boolean);
  const records = lines.map((line) => JSON.parse(line) as SkipRecord);
  const counts: Counts = { passed: 0, failed: 0, skipped: 0, faults: [], skippedCases: [] };

  for (const item of cases) {
    if (item.outcome === "left out") continue;
    if (item.outcome !== "skipped") {
      if (!item.isStep) counts[item.outcome]++;
      continue;
    }
    const reasons = recordOf(item, cases, records)?.reasons;
    const place = `${
      item.file.startsWith(`${root}/`) ? item.file.slice(root.length + 1) : item.file
    }:${item.line}`;
    counts.skippedCases.push({ place, name: item.name, reason: reasons?.join(", ") ?? "no reason given" });
    // For want of root or a program needs() itself has made a test fail.
    counts[isCi && reasons === undefined ? "failed" : "skipped"]++;
  }
  if (isCi && counts.skippedCases.some(({ reason }) => reason === "no reason given")) {
    counts.faults.push("CI=true: a test may be skipped only by needs() of testdata/needs.ts, with a reason");
  }
  if (status !== 0 && counts.failed === 0) {
    counts.failed++;
    counts.faults.push(`deno test ended with status ${status}, though no test failed: see above`);
  }
  if (counts.passed + counts.failed === 0) {
    counts.failed++;
    counts.faults.push("no test was run");
  }
  return counts;
}

/** A record belongs to the last test that begins at or before its line. */
function recordOf(
  item: TestCase,
  cases: readonly TestCase[],
  records: readonly SkipRecord[],
): SkipRecord | undefined {
  const lines = cases.filter(({ file }) => file === item.file).map(({ line }) => line);
  const next = Math.min(...lines.filter((line) => line > item.line));
  return records.find(({ file, line }) =>
    decodeURIComponent(new URL(file).pathname) === item.file && line >= item.line && line < next
  );
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
