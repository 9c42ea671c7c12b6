/**
 * Takes samples: one pass over files that stay open, without a fork and without waiting for anything. What cannot be
 * read is left out of the sample; that it was lost is said once.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import { type CgroupLocation, locateCgroup } from "../host/cgroup.ts";
import { CgroupSources } from "./cgroup_sources.ts";
import { Deltas } from "./deltas.ts";
import { type DiskPaths, DiskSources, type FilesystemFacts } from "./disk_sources.ts";
import type { Sample } from "./keys.ts";
import { MachineSources } from "./machine_sources.ts";
import type { OnSourceChange } from "./source.ts";

/** Where a {@linkcode Sampler} reads. */
export interface SamplerOptions {
  readonly proc?: string;
  readonly sys?: string;
  readonly shm?: string;
  /** Where cgroups are when mountinfo does not tell. */
  readonly cgroupRoot?: string;
  /** The filesystem of this absolute path is watched beside that of /. */
  readonly workdir?: string | undefined;
  /** Another cgroup than one's own; see {@linkcode locateCgroup}. */
  readonly cgroup?: string | undefined;
  readonly onSourceChange?: OnSourceChange;
}

/** How soon a cgroup that was removed is looked for again, at first; it doubles. */
const RELOCATE_FIRST_MS = 1_000;
const RELOCATE_LIMIT_MS = 60_000;

/** Reads one sample after the other. Throws a {@linkcode Failure} when made for a cgroup that is not there. */
export class Sampler implements Disposable {
  readonly #options: SamplerOptions;
  readonly #onChange: OnSourceChange;
  readonly #machine: MachineSources;
  readonly #disks: DiskSources;
  readonly #machineDeltas = new Deltas();
  #cgroupDeltas = new Deltas();
  #location: CgroupLocation;
  #cgroup: CgroupSources;
  #relocateMs = 0;
  #relocateAtMs = -Infinity;

  constructor(options: SamplerOptions = {}) {
    const { proc = "/proc", sys = "/sys", shm = "/dev/shm", workdir, onSourceChange = () => {} } = options;
    const paths: DiskPaths = { root: "/", work: workdir, shm };
    this.#options = options;
    this.#onChange = onSourceChange;
    this.#location = locateCgroup(options);
    this.#cgroup = new CgroupSources(this.#location, this.#onChange);
    this.#machine = new MachineSources({ proc, sys }, this.#onChange);
    this.#disks = new DiskSources(proc, paths, this.#onChange);
  }

  /** The cgroup that is watched now. */
  get cgroup(): CgroupLocation {
    return this.#location;
  }

  /** One sample; `nowMs` is monotonic. The first has no deltas. `seq` and `late_ms` are the loop's to add. */
  read(nowMs: number = performance.now()): Sample {
    if (this.#cgroup.isGone) this.#relocate(nowMs);
    const sample: Sample = new Map();
    this.#machine.read(sample, this.#machineDeltas, nowMs);
    this.#cgroup.read(sample, this.#cgroupDeltas, nowMs, this.#machine);
    this.#disks.read(sample, nowMs);
    this.#machineDeltas.turn();
    this.#cgroupDeltas.turn();
    return sample;
  }

  /** What the watched filesystems are. */
  filesystems(nowMs: number = performance.now()): Partial<Record<keyof DiskPaths, FilesystemFacts>> {
    return this.#disks.describe(nowMs);
  }

  #relocate(nowMs: number): void {
    if (nowMs < this.#relocateAtMs) return;
    this.#relocateMs = Math.min(RELOCATE_LIMIT_MS, this.#relocateMs * 2 || RELOCATE_FIRST_MS);
    this.#relocateAtMs = nowMs + this.#relocateMs;
    const location = this.#locateAgain();
    const memory = location?.dirs.memory ?? location?.dirs.pids;
    if (location === undefined || memory === undefined) return;
    this.#cgroup[Symbol.dispose]();
    this.#location = location;
    this.#cgroup = new CgroupSources(location, this.#onChange);
    this.#cgroupDeltas = new Deltas();
    this.#relocateMs = 0;
    this.#onChange({ source: memory.path, state: "back" });
  }

  #locateAgain(): CgroupLocation | undefined {
    try {
      return locateCgroup(this.#options);
    } catch (error) {
      if (error instanceof Failure) return undefined; // a given cgroup that is still not there
      throw error;
    }
  }

  /** Closes all files. */
  [Symbol.dispose](): void {
    this.#machine[Symbol.dispose]();
    this.#cgroup[Symbol.dispose]();
    this.#disks[Symbol.dispose]();
  }
}
