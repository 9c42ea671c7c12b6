/**
 * Is what lies at the target what was asked for? Decided from the file and its sidecar alone.
 *
 * @module
 */
import { Failure } from "../failure.ts";
import type { Log } from "../host/log.ts";
import { checkImage, type Verdict } from "./check.ts";
import type { Sidecar } from "./sidecar.ts";

/** What was asked for. */
export interface Wanted {
  /** Canonical reference. */
  readonly uri: string;
  readonly platform: string;
  /** A digest that the reference itself names. */
  readonly pinnedDigest: string | undefined;
  /** What the tag means at the registry now; only with `--freshness tag`. */
  readonly referenceDigest?: string | undefined;
}

/** A usable image. */
export interface Found {
  readonly sizeBytes: number;
  readonly digest: string | undefined;
  readonly sha256: string | undefined;
}

/** usable; other: a good image, but not the one asked for; foreign: good at first sight, made by somebody else. */
export type Existing =
  | { readonly state: "usable"; readonly found: Found }
  | { readonly state: "other"; readonly reason: string; readonly inode: null }
  | { readonly state: "foreign" }
  | Extract<Verdict, { state: "invalid" | "absent" }>;

/** Judges the file at `path`; throws TEMPFAIL `cannot_tell` when a look fails again and again. */
export async function judgeExisting(
  path: string,
  wanted: Wanted,
  { signal, log }: { signal: AbortSignal; log: Log },
): Promise<Existing> {
  const verdict = await checkImage(path, { level: "fast", signal });
  if (verdict.state === "unknown") throw cannotTell(path, verdict.reason);
  if (verdict.state !== "valid") return verdict;
  if (verdict.sidecar === undefined) return { state: "foreign" };
  const reason = difference(verdict.sidecar, wanted);
  if (reason !== undefined) return { state: "other", reason, inode: null };
  for (const warning of verdict.warnings) log.warn(warning, { file: path });
  const { digest, sha256 } = verdict.sidecar;
  return { state: "usable", found: { sizeBytes: verdict.sizeBytes, digest, sha256 } };
}

/** Why an adopted image is not enough for who asks for a digest. */
export const UNKNOWN_ORIGIN = "nobody recorded which digest it was made from";

/** Why the image of `sidecar` is not the wanted one; undefined when it is. */
export function difference(sidecar: Sidecar, wanted: Wanted): string | undefined {
  const { uri, digest, reference_digest: referenceDigest, platform } = sidecar;
  if (wanted.pinnedDigest !== undefined) {
    const known = [digest, referenceDigest].filter((value) => value !== undefined);
    if (!known.includes(wanted.pinnedDigest)) return known.length > 0 ? `it is ${known[0]}` : UNKNOWN_ORIGIN;
  } else if (uri !== undefined && uri !== wanted.uri) {
    return `it was imported from ${uri}`;
  }
  if (platform !== undefined && platform !== wanted.platform) return `it is for ${platform}`;
  if (wanted.referenceDigest !== undefined && wanted.referenceDigest !== referenceDigest) {
    return `the tag moved from ${referenceDigest ?? "an unknown digest"} to ${wanted.referenceDigest}`;
  }
  return undefined;
}

/** The failure when looking fails: the file stays as it is. */
export function cannotTell(path: string, reason: string): Failure {
  return new Failure("TEMPFAIL", `Cannot tell whether "${path}" is valid: ${reason}`, {
    code: "cannot_tell",
    hint: "nothing was changed; try again, or look at the filesystem",
  });
}
