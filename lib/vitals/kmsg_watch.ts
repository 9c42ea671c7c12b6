/**
 * Turns the kernel log into events of the vitals: OOM kills joined and seen from one cgroup, lines of GPUs, disks and
 * lockups tagged, losses counted. Records from before the start are summed up or marked, and no verdict may build on
 * them.
 *
 * @module
 */
import type { KmsgRecord } from "../host/kmsg.ts";
import { type KmsgDevice, openKmsg } from "../host/kmsg_device.ts";
import { KmsgFollower, type KmsgListener } from "../host/kmsg_follow.ts";
import { classifyKernelLine, type KernelLine } from "../host/kernel_lines.ts";
import { JOIN_WINDOW_US, type OomEvent, OomJoiner } from "../host/oom.ts";
import { FloodGuard, TokenBucket } from "./flood_guard.ts";
import { KmsgPast } from "./kmsg_past.ts";
import type { LineFields } from "./line.ts";
import { isOwnVictim, oomScope, type OwnCgroup } from "./oom_scope.ts";

/** Receives events: their name, and the fields behind it. */
export type EmitEvent = (event: string, fields: LineFields) => void;

/** Where to look, and from which cgroup. */
export interface KmsgWatchOptions {
  readonly emit: EmitEvent;
  /** Path of the own memory cgroup from the hierarchy's root; undefined inside a cgroup namespace. */
  readonly cgroup?: OwnCgroup;
  readonly path?: string;
  /** Used instead of opening `path`. */
  readonly device?: KmsgDevice;
  /** Records stamped so or later are not old, though they were there before the watch; microseconds. */
  readonly sinceUs?: number;
  readonly nowMs?: () => number;
}

const TEXT_LIMIT = 1_024;
const PATH_LIMIT = 512;
/** Losses are told at most this often. */
const LOST_EVERY_MS = 1_000;
/** Facts of a line that differ each time it comes again. */
const PASSING_FACTS = new Set(["pid", "seconds", "cpu"]);

/** The watch. Its constructor opens the log, {@linkcode KmsgWatch.start} begins to read. */
export class KmsgWatch {
  /** For the start line. Without the log, counters must stand in: no OOM line is no proof of no OOM. */
  readonly state: "ok" | "denied" | "absent";
  readonly #emit: EmitEvent;
  readonly #cgroup: OwnCgroup;
  readonly #nowMs: () => number;
  readonly #reopen: () => KmsgDevice | undefined;
  readonly #joiner = new OomJoiner((event) => this.#onOom(event));
  /** OOM kills have a bound of their own: no flood of anything else may hide one. */
  readonly #oomBucket = new TokenBucket({ burst: 64, perSecond: 8 });
  readonly #guard = new FloodGuard();
  readonly #past: KmsgPast;
  readonly #sinceUs: number;
  #isCaughtUp = false;
  #device: KmsgDevice | undefined;
  #follower: KmsgFollower | undefined;
  #joinTimer: ReturnType<typeof setTimeout> | undefined;
  #lost = 0;
  #lostTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #caughtUp = Promise.withResolvers<void>();

  constructor({ emit, cgroup, path = "/dev/kmsg", device, sinceUs, nowMs }: KmsgWatchOptions) {
    this.#emit = emit;
    this.#cgroup = cgroup;
    this.#past = new KmsgPast(emit);
    this.#sinceUs = sinceUs ?? Infinity;
    this.#nowMs = nowMs ?? (() => performance.now());
    const opening = device ? { state: "ok", device } as const : openKmsg(path);
    this.state = opening.state;
    this.#device = opening.state === "ok" ? opening.device : undefined;
    this.#reopen = () => {
      const again = openKmsg(path);
      return again.state === "ok" ? again.device : undefined;
    };
  }

  /** Resolves when all that was in the log at the start has been told; without a log, as soon as that is known. */
  get caughtUp(): Promise<void> {
    return this.#caughtUp.promise;
  }

  /** Begins to read. Events come until {@linkcode KmsgWatch.close}; old ones first. */
  start(): void {
    if (this.#device === undefined) this.#caughtUp.resolve();
    if (this.#device === undefined || this.#follower !== undefined) return;
    const listener: KmsgListener = {
      onRecord: (record, isOld) => this.#onRecord(record, isOld),
      onCaughtUp: () => this.#onCaughtUp(),
      onLost: (count) => this.#onLost(count),
      onDown: (errno) => this.#emit("source_lost", { source: "kmsg", errno }),
      onUp: () => this.#emit("source_back", { source: "kmsg" }),
    };
    this.#follower = new KmsgFollower({ device: this.#device, listener, reopen: this.#reopen });
  }

  /** Stops at once; events that were still waiting for their second half are given first. */
  async close(): Promise<void> {
    clearTimeout(this.#joinTimer);
    clearTimeout(this.#lostTimer);
    const follower = this.#follower;
    if (follower === undefined) {
      this.#device?.close();
      this.#device = undefined;
      return;
    }
    this.#onCaughtUp();
    this.#joiner.flush();
    if (this.#lost > 0) this.#emit("kmsg_lost", { count: this.#lost, reason: "overwritten" });
    const held = this.#oomBucket.takeDropped() + this.#guard.takeHeld();
    if (held > 0) this.#emit("kmsg_lost", { count: held, reason: "flood" });
    await follower.close();
  }

  #onRecord(record: KmsgRecord, wasThere: boolean): void {
    const isOld = wasThere && !(record.stampUs >= this.#sinceUs);
    if (!isOld) this.#past.tell();
    if (this.#joiner.take(record, isOld)) this.#awaitJoin();
    const line = classifyKernelLine(record.text);
    if (line !== undefined) this.#onLine(line, record, isOld);
  }

  /** A victim whose kill does not come is told of without it. */
  #awaitJoin(): void {
    clearTimeout(this.#joinTimer);
    if (!this.#joiner.hasPending) return;
    this.#joinTimer = setTimeout(() => this.#joiner.flush(), JOIN_WINDOW_US / 1_000);
  }

  #onCaughtUp(): void {
    this.#isCaughtUp = true;
    this.#caughtUp.resolve();
    this.#past.tell();
  }

  #onLost(count: number): void {
    this.#lost += count;
    if (this.#lostTimer !== undefined || this.#lost === 0) return;
    this.#emit("kmsg_lost", { count: this.#lost, reason: "overwritten" });
    this.#lost = 0;
    this.#lostTimer = setTimeout(() => {
      this.#lostTimer = undefined;
      this.#onLost(0);
    }, LOST_EVERY_MS);
  }

  #onOom(event: OomEvent): void {
    const fields = oomFields(event, this.#cgroup);
    if (event.isOld) return this.#keepOld("oom", fields);
    if (!this.#oomBucket.take(this.#nowMs())) return;
    this.#emit("oom", { ...fields, dropped: this.#oomBucket.takeDropped() || undefined });
  }

  #onLine(line: KernelLine, record: KmsgRecord, isOld: boolean): void {
    const fields = kernelFields(line, record, isOld);
    if (isOld) return this.#keepOld("kernel", fields);
    const lasting = Object.entries(line.facts).filter(([name]) => !PASSING_FACTS.has(name));
    const held = this.#guard.admit(JSON.stringify([line.tag, line.class, lasting]), this.#nowMs());
    if (held === undefined) return;
    const { repeats, dropped } = held;
    this.#emit("kernel", { ...fields, repeats: repeats || undefined, dropped: dropped || undefined });
  }

  #keepOld(event: "oom" | "kernel", fields: LineFields): void {
    this.#past.add(event, fields);
    // A victim without its kill is told of late.
    if (this.#isCaughtUp) this.#past.tell();
  }
}

function kernelFields(
  { tag, class: kind, facts }: KernelLine,
  record: KmsgRecord,
  isOld: boolean,
): LineFields {
  return {
    tag,
    class: kind,
    ...Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, value.slice(0, PATH_LIMIT)])),
    kmsg_seq: record.seq,
    kmsg_us: record.stampUs,
    old: isOld || undefined,
    text: record.text.slice(0, TEXT_LIMIT),
  };
}

function oomFields(event: OomEvent, own: OwnCgroup): LineFields {
  const { victim } = event;
  return {
    scope: oomScope(event, own),
    outcome: event.outcome,
    constraint: event.constraint,
    pid: event.pid,
    comm: event.comm,
    uid: event.uid,
    own_victim: isOwnVictim(event, own),
    total_vm_kb: victim?.totalVmKb,
    anon_rss_kb: victim?.anonRssKb,
    file_rss_kb: victim?.fileRssKb,
    shmem_rss_kb: victim?.shmemRssKb,
    pgtables_kb: victim?.pgtablesKb,
    oom_score_adj: victim?.oomScoreAdj,
    oom_memcg: event.oomMemcg?.slice(0, PATH_LIMIT),
    task_memcg: event.taskMemcg?.slice(0, PATH_LIMIT),
    memcg_usage_kb: event.usageKb,
    memcg_limit_kb: event.limitKb,
    invoked_by: event.invokedBy,
    oom_group: event.isGroupMember || undefined,
    kmsg_seq: event.seq,
    kmsg_us: event.stampUs,
    old: event.isOld || undefined,
  };
}
