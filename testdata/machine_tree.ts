/**
 * The written /proc, /sys and cgroup v2 of a small container, for tests of sampling: the v2 memory controller is one
 * that the machine under the tests may not have.
 *
 * @module
 */
import { mountLine, writeTree } from "./written_tree.ts";

const KIB_16_GI = 16 * 2 ** 20;

/** Files below a root that is also their mount point's; see {@linkcode writeMachine}. */
export const MACHINE_FILES = {
  "proc/meminfo": `MemTotal:       ${KIB_16_GI} kB\nMemFree:        1 kB\nMemAvailable:   ${
    KIB_16_GI / 2
  } kB\n`,
  "proc/stat":
    "cpu  1000 0 1000 8000 0 0 0 0 0 0\ncpu0 500 0 500 4000 0 0 0 0 0 0\ncpu1 500 0 500 4000 0 0 0 0 0 0\n",
  "proc/loadavg": "1.50 1.25 1.00 3/321 4711\n",
  "proc/vmstat": "pgmajfault 10\noom_kill 3\n",
  "proc/diskstats": " 254 0 vda 1 0 100 0 1 0 200 0 0 0 0\n 254 1 vda1 1 0 100 0 1 0 200 0 0 0 0\n",
  "proc/pressure/cpu": "some avg10=10.50 avg60=0.00 avg300=0.00 total=1000\n",
  "proc/pressure/memory":
    "some avg10=1.00 avg60=0.00 avg300=0.00 total=2000\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=3000\n",
  "proc/pressure/io":
    "some avg10=4.00 avg60=0.00 avg300=0.00 total=4000\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=5000\n",
  "proc/sys/fs/file-nr": "640\t0\t9223372036854775807\n",
  "proc/sys/kernel/pid_max": "32768\n",
  "proc/sys/kernel/threads-max": "100000\n",
  "proc/sys/kernel/random/boot_id": "567b7dcd-98d5-421f-b0f4-bed6577f8ed7\n",
  "proc/self/net/dev":
    "    lo: 7 0 0 0 0 0 0 0 7 0 0 0 0 0 0 0\n  eth0: 1000 0 0 0 0 0 0 0 2000 0 0 0 0 0 0 0\n",
  "proc/self/cgroup": "0::/pod/c\n",
  "proc/self/oom_score_adj": "-997\n",
  "sys/class/net/eth0/device/": "",
  "sys/block/vda/device/": "",
  "cgroup/cgroup.procs": "1\n",
  "cgroup/pod/memory.max": `${2 ** 30}\n`,
  "cgroup/pod/c/cgroup.procs": "4711\n",
  "cgroup/pod/c/memory.current": "1048576\n",
  "cgroup/pod/c/memory.peak": "2097152\n",
  "cgroup/pod/c/memory.max": "max\n",
  "cgroup/pod/c/memory.swap.current": "4096\n",
  "cgroup/pod/c/memory.events": "low 0\nhigh 5\nmax 6\noom 7\noom_kill 8\noom_group_kill 0\n",
  "cgroup/pod/c/memory.stat": "anon 111\nfile 222\nkernel 5\nshmem 33\nfile_mapped 44\n",
  "cgroup/pod/c/cpu.stat": "usage_usec 1\nnr_periods 5\nnr_throttled 1\nthrottled_usec 700\n",
  "cgroup/pod/c/cpu.max": "200000 100000\n",
  "cgroup/pod/c/pids.current": "12\n",
  "cgroup/pod/c/pids.max": "max\n",
  "cgroup/pod/c/pids.events": "max 1\n",
} as const;

/** Writes the machine below `root`, with cgroup v2 mounted at `root`/cgroup. */
export async function writeMachine(
  root: string,
  changes: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writeTree(root, {
    "proc/self/mountinfo": mountLine("/", "ext4") + mountLine("/dev/shm", "tmpfs") +
      mountLine(`${root}/cgroup`, "cgroup2"),
    ...MACHINE_FILES,
    ...changes,
  });
}
