/**
 * Finds and signals the processes of one exec in a container: a client that goes away leaves them running (moby#9994).
 * Each exec has a mark in its environment; what carries it, and what descends from that, belongs to the exec, also in
 * a session of its own.
 *
 * They are looked for in this host's /proc where we may read it: as root, and in a user's own podman, whose user
 * namespace is ours. Elsewhere a script does the same inside the container, as root, or on the host through sudo.
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
  readonly isMarked: boolean;
}

/**
 * Sends `signal` to the processes with `mark` in this host's /proc and gives how many there are that live. Null asks
 * only. Zombies do not count: their parent has not asked after them yet, nobody can end them.
 */
export function signalMarked(mark: string, signal: Deno.Signal | null, scope: Scope, proc = "/proc"): number {
  const found = findMarked(mark, proc);
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

function findMarked(mark: string, proc: string): Process[] {
  const needle = `${MARK}=${mark}`;
  const all = new Map<number, Process>();
  for (const { name } of Deno.readDirSync(proc)) {
    if (!/^\d+$/.test(name)) continue;
    const process = readProcess(Number(name), needle, proc);
    if (process !== undefined) all.set(process.pid, process);
  }
  const belongs = (process: Process | undefined, depth = 0): boolean =>
    process !== undefined && depth < 1_000 &&
    (process.isMarked || belongs(all.get(process.parent), depth + 1));
  return [...all.values()].filter((process) => belongs(process)).sort((a, b) => a.pid - b.pid);
}

function readProcess(pid: number, needle: string, proc: string): Process | undefined {
  try {
    const stat = Deno.readTextFileSync(`${proc}/${pid}/stat`);
    const [state, parent, group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state === "Z" || state === "X") return undefined;
    return { pid, parent: Number(parent), group: Number(group), isMarked: hasMark(pid, needle, proc) };
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
 * The same in sh with grep and tr, as `sh -c SCRIPT davit MARK SIGNAL SCOPE`, SIGNAL without SIG or empty; prints how many
 * live. A process that ends meanwhile is no error.
 */
export const MARKED_SCRIPT = `
signal=$2 scope=$3 found=" " leader=
# One grep for all: one each would take seconds where thousands of processes are.
marked=" $(grep -l "${MARK}=$1" /proc/[0-9]*/environ 2> /dev/null | tr '\\n' ' ')"
stat_of() { read -r line < "/proc/$1/stat" || return 1; line=\${line##*) }; set -- $line; state=$1 parent=$2 group=$3; }
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
more=1
while [ "$more" = 1 ]; do more=0; look; done 2> /dev/null
for pid in $found; do
  stat_of "$pid" || continue
  case $found in *" $parent "*) ;; *) leader=\${leader:-$group} ;; esac
done 2> /dev/null
set -- $found
if [ -n "$signal" ] && [ $# -gt 0 ]; then
  if [ "$scope" = leader ]; then kill -s "$signal" -- "-$leader"; else kill -s "$signal" "$@"; fi 2> /dev/null
fi
echo $#
`;
