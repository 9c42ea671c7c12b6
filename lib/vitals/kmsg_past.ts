/**
 * What the kernel log held when the probe began. On a busy host that is dozens of kills of other tenants: they are
 * summed up in one event. A kill that may have to do with this cgroup, and a GPU or a disk that may be broken still,
 * have lines of their own. All of it is marked, for no verdict may build on it.
 *
 * @module
 */
import type { LineFields } from "./line.ts";

/** Of each kind, the newest ones have a line; a kernel log holds thousands of records. */
const LINES_LIMIT = 16;
/** Classes of kernel lines after which the device is not what it was until somebody mends it. */
const LASTING: ReadonlySet<unknown> = new Set([
  ...["fatal", "degraded", "reset_failed"],
  ...["readonly", "shutdown", "removed"],
]);

/** Gathers events until {@linkcode KmsgPast.tell}. */
export class KmsgPast {
  readonly #emit: (event: string, fields: LineFields) => void;
  #notable: [event: string, fields: LineFields][] = [];
  #foreignKills = 0;
  /** Notable ones that the bound pushed out. */
  #moreKills = 0;
  readonly #tags = new Map<string, number>();

  constructor(emit: (event: string, fields: LineFields) => void) {
    this.#emit = emit;
  }

  /** Takes an event (`oom` or `kernel`) of the past, in the log's order. */
  add(event: "oom" | "kernel", fields: LineFields): void {
    if (!isNotable(event, fields)) return this.#count(event, fields);
    this.#notable.push([event, fields]);
    const [oldest, ...rest] = this.#notable.filter(([name]) => name === event);
    if (oldest === undefined || rest.length < LINES_LIMIT) return;
    this.#notable = this.#notable.filter((one) => one !== oldest);
    if (event === "oom") this.#moreKills++;
    else this.#count(event, oldest[1]);
  }

  /** Gives what was gathered: the notable events, and how many others there were. */
  tell(): void {
    for (const [event, fields] of this.#notable.splice(0)) this.#emit(event, fields);
    const lines = [...this.#tags.values()].reduce((sum, count) => sum + count, 0);
    if (this.#foreignKills + this.#moreKills + lines === 0) return;
    this.#emit("kmsg_old", {
      oom_other: this.#foreignKills || undefined,
      oom_more: this.#moreKills || undefined,
      kernel: lines || undefined,
      tags: lines > 0 ? [...this.#tags].map(([tag, count]) => `${tag}:${count}`).join(",") : undefined,
      old: true,
    });
    this.#foreignKills = this.#moreKills = 0;
    this.#tags.clear();
  }

  #count(event: "oom" | "kernel", { tag }: LineFields): void {
    if (event === "oom") this.#foreignKills++;
    else this.#tags.set(String(tag), (this.#tags.get(String(tag)) ?? 0) + 1);
  }
}

function isNotable(event: "oom" | "kernel", { scope, class: kind }: LineFields): boolean {
  return event === "oom" ? scope !== "other" : LASTING.has(kind);
}
