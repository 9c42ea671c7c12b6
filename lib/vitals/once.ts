/**
 * One look at the machine and the cgroup, for people and scripts: two readings shortly after each other, so that
 * what is counted between them is there too.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { sleep } from "../host/backoff.ts";
import { openKmsg } from "../host/kmsg_device.ts";
import { escapeControls } from "../host/logfmt.ts";
import { formatBytes } from "../units.ts";
import { KEY_TABLE, type KeySpec, type KeyUnit, type Sample, type SampleKey } from "./keys.ts";
import type { LineFields } from "./line.ts";
import { Sampler } from "./sample.ts";
import type { SourceChange } from "./source.ts";
import { startFields } from "./start_facts.ts";

/** What `vitals once` is asked. */
export interface OnceOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Absolute. */
  readonly workdir: string;
  readonly cgroup?: string | undefined;
  readonly signal: AbortSignal;
  readonly kmsg?: string;
}

/** What was seen. */
export interface OnceResult {
  /** As in a log's start line. */
  readonly facts: LineFields;
  readonly sample: Sample;
  /** Keys that could not be read here. */
  readonly absent: readonly SampleKey[];
  /** Sources that should have been readable and were not. */
  readonly lost: readonly SourceChange[];
}

/** Long enough for the clock ticks of CPU time, 10 ms each, to say something. */
const BETWEEN_MS = 250;
/** Filled in by the loop of `vitals run`. */
const OF_THE_LOOP: readonly SampleKey[] = ["late_ms", "seq", "lost"];

/** Reads twice. Throws a {@linkcode Failure} for a cgroup or a directory that is not there. */
export async function readOnce(
  { env, workdir, cgroup, signal, kmsg = "/dev/kmsg" }: OnceOptions,
): Promise<OnceResult> {
  const lost: SourceChange[] = [];
  using sampler = new Sampler({ workdir, cgroup, onSourceChange: (change) => lost.push(change) });
  if (sampler.filesystems().work === undefined) {
    throw new Failure("NOINPUT", `Cannot watch the filesystem of "${workdir}": there is no such directory`, {
      code: "no_workdir",
    });
  }
  sampler.read();
  await sleep(BETWEEN_MS, signal);
  const sample = sampler.read();
  const opening = openKmsg(kmsg);
  if (opening.state === "ok") opening.device.close();
  const { seq: _, ...facts } = startFields({
    env,
    sampler,
    intervalMs: BETWEEN_MS,
    mode: "once",
    kmsg: opening.state,
  });
  const absent = KEY_TABLE.map(({ key }) => key).filter((key) =>
    !sample.has(key) && !OF_THE_LOOP.includes(key)
  );
  return { facts, sample, absent, lost };
}

/** The result as a table for people. */
export function describeOnce({ facts, sample, absent, lost }: OnceResult): string {
  const factLines = Object.entries(facts).filter(([, value]) => value !== undefined)
    .map((
      [key, value],
    ) => [key, key.endsWith("_bytes") ? amount(value as number, "bytes") : escapeControls(String(value))]);
  const sampleLines = (KEY_TABLE as readonly KeySpec[]).flatMap(({ key, unit, kind, help }) => {
    const value = sample.get(key as SampleKey);
    if (value === undefined) return [];
    return [[key, amount(value, unit), kind === "delta" ? `${help}, within ${BETWEEN_MS} ms` : help]];
  });
  return [
    ...aligned(factLines),
    "",
    ...aligned(sampleLines),
    ...absent.length === 0 ? [] : ["", `not known here: ${absent.join(" ")}`],
    ...lost.map(({ source, errno }) => `could not be read: ${source} (${errno})`),
  ].join("\n");
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const width = (column: number) => Math.max(0, ...rows.map((cells) => cells[column]!.length));
  const [keyWidth, valueWidth] = [width(0), Math.min(16, width(1))];
  return rows.map(([key, value, help = ""]) =>
    `${key!.padEnd(keyWidth)}  ${value!.padEnd(help === "" ? 0 : valueWidth)}  ${help}`.trimEnd()
  );
}

function amount(value: number | "max", unit: KeyUnit): string {
  if (value === "max") return "max";
  if (unit === "bytes") return formatBytes(value);
  if (unit === "kibibytes") return formatBytes(value * 1024);
  if (unit === "percent") return `${value} %`;
  if (unit === "microseconds") return `${(value / 1000).toFixed(1)} ms`;
  return unit === "milliseconds" ? `${value} ms` : String(value);
}
