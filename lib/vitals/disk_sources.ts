/**
 * The part of a sample that is room on filesystems: of /, of the working directory and of /dev/shm. Only local ones
 * are asked: statfs(2) on a network filesystem whose server is gone would stop the sampling.
 *
 * @module
 */
import { type Mount, parseMountinfo } from "../host/mounts.ts";
import { type FilesystemRoom, Statfs } from "../host/statfs.ts";
import type { Sample } from "./keys.ts";
import { type Place, placeOf } from "./local_path.ts";
import { failed, FileSource, type OnSourceChange, Source } from "./source.ts";

/** What a filesystem is, for the line that begins a log. */
export interface FilesystemFacts {
  readonly fsType: string;
  /** Undefined when it is not local, and so is not asked. */
  readonly totalBytes: number | undefined;
  /** Undefined too where inodes are made as they are needed (btrfs). */
  readonly totalInodes: number | undefined;
}

/** Which directories are looked at; undefined is none. */
export interface DiskPaths {
  readonly root: string;
  readonly work: string | undefined;
  readonly shm: string;
}

/** Mounts may change under a running job; asking each time would cost more than all else on a host with thousands. */
const MOUNTS_EVERY_MS = 60_000;

interface Target {
  readonly name: keyof DiskPaths;
  readonly path: string;
  readonly source: Source;
  /** Undefined: mountinfo is to be asked again. */
  place: Place | undefined;
  statfs: Statfs | undefined;
}

/** Reads the room on filesystems into samples. */
export class DiskSources implements Disposable {
  readonly #mountinfo: FileSource;
  readonly #targets: readonly Target[];
  #mounts: readonly Mount[] = [];
  #mountsText = "";
  #lookAgainAtMs = -Infinity;

  constructor(proc: string, paths: DiskPaths, onChange: OnSourceChange) {
    this.#mountinfo = new FileSource(`${proc}/self/mountinfo`, onChange, { whole: true });
    this.#targets = (["root", "work", "shm"] as const).flatMap((name) => {
      const path = paths[name];
      if (path === undefined) return [];
      return [{
        name,
        path,
        source: new Source(`statfs ${path}`, onChange),
        place: undefined,
        statfs: undefined,
      }];
    });
  }

  /** Puts what can be read now into `sample`. */
  read(sample: Sample, nowMs: number): void {
    this.#lookAtMounts(nowMs);
    for (const target of this.#targets) {
      const room = this.#roomOf(target, nowMs);
      if (room === undefined) continue;
      if (target.name === "shm") {
        sample.set("shm_avail_bytes", room.availableBytes);
        continue;
      }
      sample.set(`disk_${target.name}_avail_bytes`, room.availableBytes);
      if (room.freeInodes !== undefined) sample.set(`disk_${target.name}_avail_inodes`, room.freeInodes);
    }
  }

  /** What the filesystems are, by the name of the directory. */
  describe(nowMs: number): Partial<Record<keyof DiskPaths, FilesystemFacts>> {
    this.#lookAtMounts(nowMs);
    return Object.fromEntries(this.#targets.flatMap((target) => {
      const room = this.#roomOf(target, nowMs);
      if (target.place === undefined) return [];
      const { fsType } = target.place;
      return [[target.name, { fsType, totalBytes: room?.totalBytes, totalInodes: room?.totalInodes }]];
    }));
  }

  #lookAtMounts(nowMs: number): void {
    if (nowMs < this.#lookAgainAtMs) return;
    const text = this.#mountinfo.text(nowMs);
    if (text === undefined) return;
    this.#lookAgainAtMs = nowMs + MOUNTS_EVERY_MS;
    // A symlink on the way may change without the mounts.
    for (const target of this.#targets) target.place = undefined;
    if (text === this.#mountsText) return;
    this.#mountsText = text;
    this.#mounts = parseMountinfo(text);
  }

  #roomOf(target: Target, nowMs: number): FilesystemRoom | undefined {
    return target.source.read(nowMs, () => {
      const place = target.place ??= placeOf(target.path, this.#mounts);
      if (!place?.isLocal) return failed("ENOENT"); // it must not be asked, and nothing was lost
      if (target.statfs?.path !== place.path) target.statfs = new Statfs(place.path);
      return target.statfs.read();
    });
  }

  /** Closes the files. */
  [Symbol.dispose](): void {
    this.#mountinfo[Symbol.dispose]();
  }
}
