/**
 * Looks whether filesystems have room before work begins, so that an hour's import does not end in ENOSPC.
 * Quotas are invisible to statfs(2): EDQUOT is handled where it happens.
 *
 * @module
 */
import { statfsSync } from "node:fs";
import { Failure } from "../failure.ts";
import { formatBytes } from "../units.ts";

/** What one directory will have to take. `label` names it for a person: "the layer cache". */
export interface SpaceNeed {
  readonly label: string;
  readonly directory: string;
  readonly bytes: number;
  readonly inodes: number;
  /** How to mend a lack. */
  readonly hint: string;
}

/** Throws a {@linkcode Failure} naming every place that lacks room; needs on one filesystem are added up. */
export async function checkSpace(needs: readonly SpaceNeed[]): Promise<void> {
  const filesystems = new Map<number, SpaceNeed[]>();
  for (const need of needs) {
    const { dev } = await Deno.stat(need.directory);
    filesystems.set(dev, [...filesystems.get(dev) ?? [], need]);
  }
  const lacks: string[] = [];
  const hints = new Set<string>();
  for (const group of filesystems.values()) {
    const { bavail, bsize, ffree, files } = statfsSync(group[0]!.directory);
    const bytes = group.reduce((sum, need) => sum + need.bytes, 0);
    const inodes = group.reduce((sum, need) => sum + need.inodes, 0);
    const places = group.map(({ label, directory }) => `${label} "${directory}"`).join(" and ");
    const free = bavail * bsize;
    if (free < bytes) lacks.push(`${places}: ${formatBytes(bytes)} needed, ${formatBytes(free)} free`);
    // btrfs and others that make inodes as they go report 0 of 0.
    if (files > 0 && ffree < inodes) lacks.push(`${places}: ${inodes} inodes needed, ${ffree} free`);
    if (free < bytes || (files > 0 && ffree < inodes)) group.forEach(({ hint }) => hints.add(hint));
  }
  if (lacks.length > 0) {
    throw new Failure("IOERR", `Cannot begin: not enough room in ${lacks.join("; in ")}`, {
      code: "no_space",
      hint: [...hints].join("; "),
    });
  }
}
