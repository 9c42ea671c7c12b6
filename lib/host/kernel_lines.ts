/**
 * Kernel lines beside the OOM killer's that explain why a job ended on a GPU host, as a table of patterns. All are
 * anchored at the start of the record's text: an application may print any of these words.
 *
 * @module
 */
import { xidClass } from "./xid_table.ts";

/** What a line is about. */
export type KernelTag =
  | ("hung_task" | "soft_lockup" | "rcu_stall" | "panic" | "oom_group" | "oom_reaper")
  | ("xid" | "gpu_off_bus" | "sxid" | "amdgpu")
  | ("nvme" | "fs" | "io_error" | "nfs" | "segfault" | "mce" | "filemax" | "pids" | "netdev");

/** A line, understood. `facts` are parts of the text, by the pattern's names. */
export interface KernelLine {
  readonly tag: KernelTag;
  /** A word of the tag's own: an Xid's class, `readonly` of a filesystem. */
  readonly class: string | undefined;
  readonly facts: Readonly<Record<string, string>>;
}

type Groups = Record<string, string | undefined>;

interface Row {
  readonly tag: KernelTag;
  readonly pattern: RegExp;
  readonly class?: string | ((groups: Groups) => string | undefined);
}

const BUS = "(?<bus>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\\.\\d)?)";
const AMDGPU = `^amdgpu ${BUS}: (?:amdgpu: )?`;

const word = (name: string) => (groups: Groups) => groups[name]?.toLowerCase().replace("-", "");

/** The first row that matches counts. */
const ROWS: readonly Row[] = [
  {
    tag: "hung_task",
    pattern:
      /^INFO: task (?<comm>.*):(?<pid>\d+) blocked (?<in_io>in I\/O wait )?for more than (?<seconds>\d+) /,
    class: ({ in_io }) => in_io === undefined ? "blocked" : "io_wait",
  },
  {
    tag: "hung_task",
    pattern: /^INFO: task (?<comm>.*):(?<pid>\d+) is blocked on a \w+ likely owned by task /,
    class: "owner",
  },
  { tag: "hung_task", pattern: /^Future hung task reports are suppressed/, class: "suppressed" },
  {
    tag: "soft_lockup",
    pattern:
      /^(?:NMI )?(?:watchdog: )?BUG: soft lockup - CPU#(?<cpu>\d+) stuck for (?<seconds>\d+)s! \[(?<comm>.*):(?<pid>\d+)\]/,
    class: "soft",
  },
  {
    tag: "soft_lockup",
    pattern: /^(?:NMI )?watchdog: (?:CPU(?<cpu>\d+): )?Watchdog detected hard LOCKUP/,
    class: "hard",
  },
  {
    tag: "rcu_stall",
    pattern: /^(?:rcu: )?INFO: (?<flavor>rcu_\w+) (?:self-)?detected (?:expedited )?stalls? on CPU/,
  },
  { tag: "panic", pattern: /^Kernel panic - not syncing: / },
  {
    tag: "oom_group",
    pattern: /^Tasks in (?<cgroup>.*) are going to be killed due to memory\.oom\.group set/,
  },
  { tag: "oom_reaper", pattern: /^oom_reaper: unable to reap pid:(?<pid>\d+)/, class: "unable" },

  {
    tag: "xid",
    // With MIG the instance stands behind the address: (PCI:0000:51:00 GPU-I:08).
    pattern:
      /^NVRM: Xid \((?:PCI:)?(?<bus>[0-9a-fA-F]{4,8}(?::[0-9a-fA-F]{2})+)[^)]*\)[^:]*: (?<xid>\d+)\b(?:, pid='?(?<pid>\d+))?/,
    class: ({ xid }) => xidClass(Number(xid)),
  },
  {
    tag: "gpu_off_bus",
    pattern: new RegExp(`^NVRM: (?:The NVIDIA )?GPU (?:at )?(?:PCI:)?${BUS}:? .*fallen off the bus`),
    class: "fatal",
  },
  {
    tag: "sxid",
    pattern: new RegExp(
      `^nvidia-nvswitch(?<switch>\\d+): SXid \\((?:PCI:)?${BUS}\\): (?<sxid>\\d+)\\b(?:, (?<severity>Fatal|Non-fatal))?`,
    ),
    class: word("severity"),
  },

  {
    tag: "amdgpu",
    pattern:
      /^(?:\[drm:amdgpu_job_timedout[^\]]*\]?\]|amdgpu (?<bus>[0-9a-f:.]+): (?:amdgpu: )?)\s*(?:\*ERROR\* )?ring (?<ring>\S+) timeout/,
    class: "timeout",
  },
  { tag: "amdgpu", pattern: new RegExp(`${AMDGPU}GPU reset begin!`), class: "reset" },
  { tag: "amdgpu", pattern: new RegExp(`${AMDGPU}GPU reset ?(?:\\(\\d+\\))? succeeded`), class: "reset_ok" },
  {
    tag: "amdgpu",
    pattern: new RegExp(`${AMDGPU}GPU (?:reset ?(?:\\(\\d+\\))? failed|reset end with ret = -)`),
    class: "reset_failed",
  },
  {
    tag: "amdgpu",
    pattern: /^(?:\[drm\]|amdgpu (?<bus>[0-9a-f:.]+): (?:amdgpu:|\[drm\])) VRAM is lost due to GPU reset/,
    class: "vram_lost",
  },
  {
    tag: "amdgpu",
    pattern: new RegExp(`${AMDGPU}\\[\\w+\\] (?:no-)?retry page fault `),
    class: "page_fault",
  },
  {
    tag: "amdgpu",
    pattern:
      /^(?:\[drm:\w+ \[amdgpu\]\] |amdgpu (?<bus>[0-9a-f:.]+): (?:amdgpu: )?)(?:\*ERROR\* )?MES failed to respon/,
    class: "firmware",
  },

  {
    tag: "nvme",
    pattern: /^nvme (?<dev>nvme\w+): controller is down; will reset/,
    class: "controller_down",
  },
  { tag: "nvme", pattern: /^nvme (?<dev>nvme\w+): I\/O .*timeout/, class: "timeout" },
  { tag: "nvme", pattern: /^nvme (?<dev>nvme\w+): Removing after probe failure/, class: "removed" },
  { tag: "nvme", pattern: /^nvme (?<dev>nvme\w+): Disabling device after reset failure/, class: "removed" },

  {
    tag: "fs",
    pattern: /^(?:EXT4-fs|EXT3-fs|EXT2-fs) \((?<dev>[^)]*)\): Remounting filesystem read-only/,
    class: "readonly",
  },
  { tag: "fs", pattern: /^EXT[234]-fs error \(device (?<dev>[^)]*)\)/, class: "error" },
  { tag: "fs", pattern: /^XFS \((?<dev>[^)]*)\): .*[Ss]hutting down filesystem/, class: "shutdown" },
  {
    tag: "fs",
    pattern: /^BTRFS(?: \w+)? \(device (?<dev>[^):]+)[^)]*\): forced readonly/,
    class: "readonly",
  },
  { tag: "fs", pattern: /^BTRFS: error \(device (?<dev>[^):]+)[^)]*\)/, class: "error" },

  { tag: "io_error", pattern: /^Buffer I\/O error on dev (?<dev>[^,]+), logical block \d+/, class: "buffer" },
  {
    tag: "io_error",
    pattern:
      /^(?:blk_update_request: |print_req_error: )?(?:I\/O|critical \w+) error, dev (?<dev>[^,]+), sector /,
    class: "block",
  },
  { tag: "nfs", pattern: /^nfs: server (?<server>\S+) not responding/, class: "not_responding" },
  { tag: "nfs", pattern: /^nfs: server (?<server>\S+) OK$/, class: "ok" },
  {
    tag: "segfault",
    pattern:
      /^(?<comm>.*)\[(?<pid>\d+)\]: segfault at \S+ ip \S+ sp \S+ error \d+(?: in (?<library>[^[]+)\[)?/,
    class: "segfault",
  },
  {
    tag: "segfault",
    pattern:
      /^traps: (?<comm>.*)\[(?<pid>\d+)\] (?:general protection|trap [\w ]+?)(?: fault)? ip:\S+ sp:\S+ error:\S+(?: in (?<library>[^[]+)\[)?/,
    class: "trap",
  },
  {
    tag: "mce",
    pattern: /^(?:\{\d+\})?\[Hardware Error\]: event severity: (?<severity>\w+)/,
    class: word("severity"),
  },
  { tag: "mce", pattern: /^mce: \[Hardware Error\]: Machine check events logged/, class: "logged" },
  { tag: "mce", pattern: /^mce: \[Hardware Error\]: /, class: "error" },
  { tag: "filemax", pattern: /^VFS: file-max limit (?<limit>\d+) reached/ },
  { tag: "pids", pattern: /^cgroup: fork rejected by pids controller in (?<cgroup>.*)$/ },
  { tag: "netdev", pattern: /^unregister_netdevice: waiting for (?<dev>\S+) to become free/ },
];

/** Finds what a record's text is about, or undefined: most of the log is about nothing that ends a job. */
export function classifyKernelLine(text: string): KernelLine | undefined {
  for (const row of ROWS) {
    const match = row.pattern.exec(text);
    if (!match) continue;
    const { in_io: _, severity: __, ...groups } = match.groups ?? {};
    const facts = Object.fromEntries(
      Object.entries(groups as Groups).filter((entry): entry is [string, string] => entry[1] !== undefined),
    );
    const named = typeof row.class === "function" ? row.class(match.groups ?? {}) : row.class;
    return { tag: row.tag, class: named, facts };
  }
  return undefined;
}
