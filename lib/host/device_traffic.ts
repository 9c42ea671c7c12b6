/**
 * Bytes that went through the machine's network interfaces (/proc/net/dev) and disks (/proc/diskstats) since the
 * previous reading. Bridges, bonds, partitions and device mapper count again what a real device counted, so only
 * devices that sysfs knows as hardware are added up; where there is none, as in a container whose interface is one
 * end of a veth, all that are not known to be inner ones.
 *
 * @module
 */
import { type Counter, counterDelta } from "./procfs.ts";

/** Bytes in the two directions. */
export interface Traffic {
  readonly inBytes: number;
  readonly outBytes: number;
}

/** One device's line, as a parser gives it. */
export interface DeviceCounters {
  readonly name: string;
  readonly inBytes: Counter;
  readonly outBytes: Counter;
}

interface Device {
  inBytes: Counter;
  outBytes: Counter;
  readonly isHardware: boolean;
  /** Number of the last reading that had it. */
  seenAt: number;
}

/** Adds up what devices of one class did between two readings. */
export class TrafficMeter {
  readonly #devices = new Map<string, Device>();
  readonly #isHardware: (name: string) => boolean;
  #readings = 0;

  /** `isHardware` is asked once for each name. */
  constructor(isHardware: (name: string) => boolean) {
    this.#isHardware = isHardware;
  }

  /** Takes one reading; undefined for the first. A device that is new or began anew adds nothing this time. */
  next(counters: readonly DeviceCounters[]): Traffic | undefined {
    this.#readings++;
    const sums = { hardware: { inBytes: 0, outBytes: 0 }, other: { inBytes: 0, outBytes: 0 } };
    let hasHardware = false;
    for (const { name, inBytes, outBytes } of counters) {
      const device = this.#devices.get(name);
      if (device === undefined) {
        const isHardware = this.#isHardware(name);
        hasHardware ||= isHardware;
        this.#devices.set(name, { inBytes, outBytes, isHardware, seenAt: this.#readings });
        continue;
      }
      hasHardware ||= device.isHardware;
      const sum = device.isHardware ? sums.hardware : sums.other;
      sum.inBytes += counterDelta(device.inBytes, inBytes) ?? 0;
      sum.outBytes += counterDelta(device.outBytes, outBytes) ?? 0;
      Object.assign(device, { inBytes, outBytes, seenAt: this.#readings });
    }
    for (const [name, { seenAt }] of this.#devices) {
      if (seenAt !== this.#readings) this.#devices.delete(name);
    }
    if (this.#readings === 1) return undefined;
    return hasHardware ? sums.hardware : sums.other;
  }

  /** Makes the next reading a first one again, after readings that failed. */
  forget(): void {
    this.#devices.clear();
    this.#readings = 0;
  }
}

const NET_REGEXP = /^ *([^\s:]+): *(\d+)(?: +\d+){7} +(\d+)/gm;

/** The interfaces of /proc/net/dev without the loopback. */
export function parseNetDevices(text: string): DeviceCounters[] {
  return [...text.matchAll(NET_REGEXP)].filter(([, name]) => name !== "lo")
    .map(([, name, received, sent]) => ({
      name: name!,
      inBytes: counterOf(received!),
      outBytes: counterOf(sent!),
    }));
}

/** Kernel's iostats.rst: name, then reads, merged, sectors read, ms, writes, merged, sectors written. */
const DISK_REGEXP = /^ *\d+ +\d+ (\S+) \d+ \d+ (\d+) \d+ \d+ \d+ (\d+)/gm;
/** The unit of /proc/diskstats on every disk. */
const SECTOR_BYTES = 512;
/** Disks made of files, memory or other disks. */
const INNER_DISK_REGEXP = /^(?:loop|ram|zram|dm-|md|sr|fd)\d/;

/** The devices of /proc/diskstats; `isWhole` tells a disk from a partition. */
export function parseDisks(text: string, isWhole: (name: string) => boolean): DeviceCounters[] {
  const disks: DeviceCounters[] = [];
  for (const [, name, sectorsRead, sectorsWritten] of text.matchAll(DISK_REGEXP)) {
    if (INNER_DISK_REGEXP.test(name!) || !isWhole(name!)) continue;
    disks.push({ name: name!, inBytes: bytesOf(sectorsRead!), outBytes: bytesOf(sectorsWritten!) });
  }
  return disks;
}

function counterOf(digits: string): Counter {
  return digits.length <= 15 ? Number(digits) : BigInt(digits);
}

function bytesOf(sectors: string): Counter {
  return sectors.length <= 12 ? Number(sectors) * SECTOR_BYTES : BigInt(sectors) * BigInt(SECTOR_BYTES);
}
