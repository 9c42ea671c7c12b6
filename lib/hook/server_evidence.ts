/**
 * What this machine knows of the end of a hook server that ran on it. A server in another container or on another
 * host leaves nothing here, and then nothing is said.
 *
 * @module
 */
import { openKmsg } from "../host/kmsg_device.ts";
import { kmsgRecords } from "../host/kmsg_records.ts";
import { parseOomLine } from "../host/oom_lines.ts";

/** Whom to look for, and where; a test gives its own places. */
export interface EvidenceOptions {
  /** As {@linkcode localPid} gave it. */
  readonly pid: number | undefined;
  /** The kernel's clock when the server was known to be alive: what is older says nothing. */
  readonly sinceUs: number;
  readonly proc?: string;
  readonly kmsg?: string;
}

/** Sentences without a final period; none where nothing is known. */
export function serverEvidence(
  { pid, sinceUs, proc = "/proc", kmsg = "/dev/kmsg" }: EvidenceOptions,
): string[] {
  const gone = pid !== undefined && isGone(proc, pid) ? [`its process ${pid} does not run any more`] : [];
  return [...oomKills(kmsg, pid, sinceUs), ...gone];
}

/** A server's own process id where it is the same here: in another namespace the number means somebody else. */
export function localPid(pid: unknown, { proc = "/proc" }: { proc?: string } = {}): number | undefined {
  try {
    const comm = Deno.readTextFileSync(`${proc}/${Number(pid)}/comm`).trim();
    return comm === "davit" || comm === "deno" ? Number(pid) : undefined;
  } catch {
    return undefined; // not here, or not ours to look at
  }
}

/** Microseconds of the kernel's clock, by /proc/uptime; infinite where that cannot be read. */
export function kernelClockUs({ proc = "/proc" }: { proc?: string } = {}): number {
  try {
    return Number.parseFloat(Deno.readTextFileSync(`${proc}/uptime`)) * 1e6;
  } catch {
    return Infinity;
  }
}

function oomKills(kmsg: string, pid: number | undefined, sinceUs: number): string[] {
  const opening = openKmsg(kmsg);
  if (opening.state !== "ok") return [];
  try {
    return [...kmsgRecords(opening.device)]
      .filter(({ facility, stampUs }) => facility === 0 && stampUs >= sinceUs)
      .filter(({ text }) => isVictim(text, pid))
      .map(({ text }) => `the kernel's log says: ${text}`);
  } finally {
    opening.device.close();
  }
}

/** The kernel writes numbers of its own namespace; in a container the name has to do. */
function isVictim(text: string, pid: number | undefined): boolean {
  const line = parseOomLine(text);
  return line?.kind === "kill" && (line.victim.pid === pid || line.victim.comm === "davit");
}

function isGone(proc: string, pid: number): boolean {
  try {
    const stat = Deno.readTextFileSync(`${proc}/${pid}/stat`);
    return stat[stat.lastIndexOf(")") + 2] === "Z";
  } catch {
    return true;
  }
}
