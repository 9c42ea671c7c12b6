/**
 * Finds and signals the processes of one exec in a container: a client that goes away leaves them running (moby#9994).
 * Each exec has a mark in its environment; what carries it, and what descends from that, belongs to the exec, also in
 * a session of its own. What was found once belongs to it for good: when its parent is ended before it, a process without
 * the mark could not be found again.
 *
 * They are looked for in this host's /proc where we may read it: as root. A script does the same elsewhere: as root of a
 * user's own namespace for their podman, as root inside the container, or on the host through sudo.
 *
 * @module
 */
import { errnoOf } from "../../host/errno.ts";

/** The variable that carries the mark. */
export const MARK = "DAVIT_EXEC_ID";

/** `leader`: the process group of the program that was asked for, as a terminal would; `all`: every one. */
export type Scope = "leader" | "all";

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** Since boot, clock ticks: with the number it names one process. */
  readonly startTicks: string;
  readonly isMarked: boolean;
}

/** Start times of the processes that were found, by process id. */
export type Seen = Map<number, string>;

/**
 * Sends `signal` to the processes with `mark` in this host's /proc and gives how many there are that live. Null asks
 * only. Zombies do not count: their parent has not asked after them yet, nobody can end them. Adds to `seen`.
 */
export function signalMarked(
  mark: string,
  signal: Deno.Signal | null,
  scope: Scope,
  { seen = new Map(), proc = "/proc" }: { seen?: Seen; proc?: string } = {},
): number {
  const found = findMarked(mark, seen, proc);
  if (signal === null) return found.length;
  const pids = scope === "all" ? found.map(({ pid }) => pid) : leaderGroups(found);
  for (const pid of pids) {
    try {
      Deno.kill(pid, signal);
    } catch (error) {
      // It has ended, or it is another user's now: the next look tells whether it lives.
      if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied)) {
        throw error;
      }
    }
  }
  return found.length;
}

/** Of the marked one whose parent is not: the runtime started it, in a session of its own. */
function leaderGroups(found: readonly Process[]): number[] {
  const pids = new Set(found.map(({ pid }) => pid));
  const leader = found.find(({ parent, isMarked }) => isMarked && !pids.has(parent)) ?? found[0];
  return leader === undefined ? [] : [-leader.group];
}

function findMarked(mark: string, seen: Seen, proc: string): Process[] {
  const needle = `${MARK}=${mark}`;
  const all = new Map<number, Process>();
  for (const { name } of Deno.readDirSync(proc)) {
    if (!/^\d+$/.test(name)) continue;
    const process = readProcess(Number(name), needle, proc);
    if (process !== undefined) all.set(process.pid, process);
  }
  const belongs = (process: Process | undefined, depth = 0): boolean =>
    process !== undefined && depth < 1_000 &&
    (process.isMarked || seen.get(process.pid) === process.startTicks ||
      belongs(all.get(process.parent), depth + 1));
  const found = [...all.values()].filter((process) => belongs(process)).sort((a, b) => a.pid - b.pid);
  for (const { pid, startTicks } of found) seen.set(pid, startTicks);
  return found;
}

function readProcess(pid: number, needle: string, proc: string): Process | undefined {
  try {
    const stat = Deno.readTextFileSync(`${proc}/${pid}/stat`);
    // proc(5): state, ppid and pgrp are fields 3 to 5, starttime is field 22.
    const [state, parent, group, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state === "Z" || state === "X") return undefined;
    const isMarked = hasMark(pid, needle, proc);
    return { pid, parent: Number(parent), group: Number(group), startTicks: rest[16] ?? "", isMarked };
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof Deno.errors.NotFound)) throw error;
    return undefined; // it ended while we looked
  }
}

function hasMark(pid: number, needle: string, proc: string): boolean {
  try {
    return Deno.readTextFileSync(`${proc}/${pid}/environ`).includes(needle);
  } catch {
    return false; // another user's, or it has ended
  }
}

/**
 * The same in sh with grep and tr, as `sh -c SCRIPT davit MARK SIGNAL SCOPE SEEN`, SIGNAL without SIG or empty, SEEN
 * what it printed before; prints how many live, and each as PID:STARTTICKS. A process that ends meanwhile is no error.
 */
export const MARKED_SCRIPT = `
signal=$2 scope=$3 seen=$4 found=" " named= leader=
# One grep for all: one each would take seconds where thousands of processes are.
marked=" $(grep -l "${MARK}=$1" /proc/[0-9]*/environ 2> /dev/null | tr '\\n' ' ')"
stat_of() { read -r line < "/proc/$1/stat" || return 1; line=\${line##*) }; set -- $line
  state=$1 parent=$2 group=$3 start=\${20}; }
look() {
  for directory in /proc/[0-9]*; do
    pid=\${directory#/proc/}
    case $found in *" $pid "*) continue ;; esac
    stat_of "$pid" || continue
    case $state in Z | X) continue ;; esac
    case $found in
      *" $parent "*) ;;
      *) case $marked in *" $directory/environ "*) ;; *) continue ;; esac ;;
    esac
    found="$found$pid "
    more=1
  done
}
for one in $seen; do
  pid=\${one%:*}
  stat_of "$pid" && [ "$start" = "\${one#*:}" ] || continue
  case $state in Z | X) continue ;; esac
  found="$found$pid "
done 2> /dev/null
more=1
while [ "$more" = 1 ]; do more=0; look; done 2> /dev/null
for pid in $found; do
  stat_of "$pid" || continue
  named="$named $pid:$start"
  case $found in *" $parent "*) ;; *) leader=\${leader:-$group} ;; esac
done 2> /dev/null
set -- $found
if [ -n "$signal" ] && [ $# -gt 0 ]; then
  if [ "$scope" = leader ]; then kill -s "$signal" -- "-$leader"; else kill -s "$signal" "$@"; fi 2> /dev/null
fi
echo $#$named
`;
