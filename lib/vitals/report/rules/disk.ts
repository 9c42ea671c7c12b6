/**
 * Nothing more could be written: space, inodes, /dev/shm; or the filesystem or its device failed. How large a
 * filesystem is the start line says; where that is lost, the most room seen in the run stands in.
 *
 * @module
 */
import { formatBytes } from "../../../units.ts";
import type { SampleKey } from "../../keys.ts";
import { evidence } from "../evidence.ts";
import type { Facts } from "../facts.ts";
import type { LogRecord } from "../record.ts";
import type { Finding } from "../types.ts";

const LOW_BYTES = 100e6;
const LOW_SHARE = 0.01;
const LOW_SHARE_OF_SMALL = 0.05;
const LOW_INODES = 1_000;

interface Place {
  readonly key: SampleKey;
  /** Of the start line. */
  readonly total: string;
  readonly what: string;
}

const WORK = "the working directory's filesystem";
const ROOT = "the root filesystem";
const BYTES: readonly Place[] = [
  { key: "disk_work_avail_bytes", total: "disk_work_bytes", what: WORK },
  { key: "disk_root_avail_bytes", total: "disk_root_bytes", what: ROOT },
];
const INODES: readonly Place[] = [
  { key: "disk_work_avail_inodes", total: "disk_work_inodes", what: WORK },
  { key: "disk_root_avail_inodes", total: "disk_root_inodes", what: ROOT },
];
const SHM: readonly Place[] = [{ key: "shm_avail_bytes", total: "shm_bytes", what: "/dev/shm" }];

/** No room for data, or a write of the probe that failed for want of it. */
export function diskFull(facts: Facts): Finding | undefined {
  const refused = [...facts.run.events].filter((event) =>
    event.get("errno") === "ENOSPC" && facts.isRecent(event)
  );
  const full = lowOf(facts, BYTES, LOW_BYTES);
  if (full === undefined && refused.length === 0) return undefined;
  return {
    class: "disk_full",
    confidence: "high",
    summary: full === undefined
      ? "A write of the probe itself failed because a filesystem was full"
      : `${capital(full.what)} was full: ${formatBytes(full.value)} left`,
    evidence: [...full === undefined ? [] : [full.record], ...refused.slice(-2)].map((record) =>
      evidence(record)
    ),
    check: ["`du -x` of that filesystem: caches and images of earlier jobs are what most often fills it"],
  };
}

/** No room for more files. */
export function inodesFull(facts: Facts): Finding | undefined {
  const full = lowOf(facts, INODES, LOW_INODES);
  if (full === undefined) return undefined;
  return {
    class: "inodes_full",
    confidence: "high",
    summary: `${capital(full.what)} had ${full.value} inodes left`,
    evidence: [evidence(full.record)],
    check: ["`df -i` and `du --inodes -x`: many small files, often a package cache"],
  };
}

/** No room in shared memory. */
export function shmFull(facts: Facts): Finding | undefined {
  const full = lowOf(facts, SHM, LOW_BYTES);
  if (full === undefined) return undefined;
  return {
    class: "shm_full",
    confidence: "high",
    summary: `/dev/shm was full: ${formatBytes(full.value)} left`,
    evidence: [evidence(full.record)],
    check: [
      "the container's --shm-size (64 MB unless given) against what its workers share",
      "files in /dev/shm that ended jobs left behind",
    ],
  };
}

/** A device or a filesystem gave up. */
export function diskFault(facts: Facts): Finding | undefined {
  const lines = [
    ...facts.recentKernel("fs", "io_error"),
    ...facts.recentKernel("nvme").filter((line) => line.get("class") === "removed"),
  ];
  if (lines.length === 0) return undefined;
  return {
    class: "disk_fault",
    confidence: "high",
    summary: "A disk or a filesystem failed",
    evidence: lines.slice(0, 5).map((line) => evidence(line)),
    check: ["`dmesg` and the device's health (`smartctl -a`, `nvme smart-log`) on the host"],
  };
}

interface Low {
  readonly value: number;
  readonly record: LogRecord;
  readonly what: string;
}

/** The first of the values that is low in the last samples. */
function lowOf(facts: Facts, places: readonly Place[], floor: number): Low | undefined {
  for (const { key, total, what } of places) {
    const now = facts.recent(key);
    const most = facts.run.start?.number(total) ?? facts.largest(key);
    if (now === undefined || most === undefined) continue;
    // 100 MB of a small filesystem is much: docker's /dev/shm has 64 MB on a good day.
    const limit = Math.max(LOW_SHARE * most, Math.min(floor, LOW_SHARE_OF_SMALL * most));
    if (now.value <= limit) return { ...now, what };
  }
  return undefined;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
