/**
 * A sample as tuist's shell probe prints it (tuist/tuist, infra/linux-runner-image/vitals.sh, third version), for
 * queries and dashboards that read its lines. Its fields of memory and OOM kills stay with an empty value when they
 * are not known; those of CPU and pressure are left out. On cgroup v1, where it prints nothing, ours have values.
 *
 * @module
 */
import { KEY_TABLE, type KeySpec, type Sample, type SampleKey } from "./keys.ts";

/** Fields that the peer prints whether it could read them or not: those of memory and OOM kills. */
const ALWAYS = /^(?:vm\.mem|mem\.(?:current|peak|max|swap)|oom)/;
// deno-lint-ignore no-control-regex -- what must not reach a terminal
const CONTROLS_REGEXP = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g;
/** A kernel's record has at most about 1 kB. */
const TEXT_LIMIT_CHARS = 1000;

const FIELDS = (KEY_TABLE as readonly KeySpec[]).flatMap(({ key, tuist }) =>
  tuist === undefined ? [] : [{ key: key as SampleKey, name: tuist, isAlways: ALWAYS.test(tuist) }]
);

/** The sample's line, ended by a newline. Its time is UTC in whole seconds. */
export function formatTuistSample(tag: string, wallMs: number, sample: Sample): string {
  let line = `${stamp(wallMs)} ${tag}`;
  for (const { key, name, isAlways } of FIELDS) {
    const value = sample.get(key);
    if (value !== undefined) line += ` ${name}=${tuistValue(name, value)}`;
    else if (isAlways) line += ` ${name}=`;
  }
  const loads = (["load1", "load5", "load15"] as const).map((key) => sample.get(key));
  const load = loads.every((value) => typeof value === "number")
    ? loads.map((value) => value.toFixed(2)).join(",")
    : "";
  return `${line} load=${load}\n`;
}

/** The line of a kernel record about an OOM kill. */
export function formatTuistOom(tag: string, wallMs: number, text: string): string {
  const safe = text.slice(0, TEXT_LIMIT_CHARS).toWellFormed().replace(CONTROLS_REGEXP, " ");
  return `${stamp(wallMs)} ${tag} kmsg.oom ${safe}\n`;
}

function tuistValue(name: string, value: number | "max"): string {
  if (typeof value !== "number") return value;
  if (name === "cpu.busy.pct") return String(Math.trunc(value));
  return name.includes(".psi.") ? value.toFixed(2) : String(value);
}

function stamp(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(0, 19)}Z`;
}
