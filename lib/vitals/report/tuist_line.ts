/**
 * Reads the lines of tuist's shell probe (infra/linux-runner-image/vitals.sh, its versions of 2026): dotted keys,
 * `load` as three numbers, empty values for what could not be read, and `kmsg.oom` followed by free text.
 *
 * @module
 */
import type { LineKind } from "../line.ts";
import { KEY_TABLE, type KeySpec } from "../keys.ts";

/** What the head of such a line says. */
export interface TuistHead {
  readonly kind: LineKind;
  readonly tsMs: number;
  readonly text: string;
  readonly parse: () => ReadonlyMap<string, string>;
}

const ROWS: readonly KeySpec[] = KEY_TABLE;
const OUR_KEYS = new Map(ROWS.flatMap(({ key, tuist }) => tuist === undefined ? [] : [[tuist, key]]));
const KILLED_REGEXP = /Killed? process (\d+) \((.*)\)(?:,? total-vm:| score )/;
const SUMMARY_REGEXP =
  /^oom-kill:constraint=(CONSTRAINT_\w+),.*?(?:,oom_memcg=(.*?)|,global_oom),task_memcg=(.*?),task=(.*),pid=(\d+),uid=\d+/;

/** `line` begins with its timestamp; undefined when it is none of the peer's. */
export function parseTuistLine(line: string, tag: string, isWhole: boolean): TuistHead | undefined {
  const space = line.indexOf(" ");
  const body = line.slice(space + 1);
  const tsMs = Date.parse(line.slice(0, space));
  if (Number.isNaN(tsMs)) return undefined;
  if (body.startsWith(`${tag} kmsg.oom `)) {
    const text = body.slice(tag.length + " kmsg.oom ".length);
    return { kind: "event", tsMs, text: line, parse: () => oomFields(text) };
  }
  if (!body.startsWith(`${tag} vm.mem.total.kb=`)) return undefined;
  const whole = isWhole ? body : body.slice(0, body.lastIndexOf(" "));
  return { kind: "sample", tsMs, text: line, parse: () => sampleFields(whole) };
}

function sampleFields(body: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const pair of body.split(" ").slice(1)) {
    const [key = "", value = ""] = pair.split("=", 2);
    if (value === "") continue;
    const ours = OUR_KEYS.get(key);
    if (ours !== undefined) fields.set(ours, value);
    else if (key === "load") {
      const [load1, load5, load15] = value.split(",");
      for (const [name, number] of Object.entries({ load1, load5, load15 })) {
        if (number) fields.set(name, number);
      }
    }
  }
  return fields;
}

/**
 * An `oom` event as ours have it. The peer does not know its own cgroup, so a limit's kill has the scope `memcg`:
 * whose it was cannot be told.
 */
function oomFields(text: string): ReadonlyMap<string, string> {
  const fields = new Map([["event", "oom"], ["text", text]]);
  const summary = SUMMARY_REGEXP.exec(text);
  if (summary !== null) {
    const [, constraint, oomMemcg, taskMemcg, comm, pid] = summary;
    fields.set("constraint", constraint!).set("comm", comm!).set("pid", pid!).set("task_memcg", taskMemcg!);
    if (oomMemcg !== undefined) fields.set("oom_memcg", oomMemcg);
    const isNuma = constraint === "CONSTRAINT_CPUSET" || constraint === "CONSTRAINT_MEMORY_POLICY";
    return fields.set("scope", isNuma ? "numa" : oomMemcg === undefined ? "global" : "memcg");
  }
  const killed = KILLED_REGEXP.exec(text);
  if (killed !== null) fields.set("pid", killed[1]!).set("comm", killed[2]!);
  if (text.startsWith("Memory cgroup out of memory")) fields.set("scope", "memcg");
  else if (text.startsWith("Out of memory")) fields.set("scope", "global");
  return fields;
}
